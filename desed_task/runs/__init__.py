"""The course of a run, from the command line to the report: training, testing, listening to unlabelled recordings."""
