"""Fetching data sets: downloads that resume, archives unpacked safely, clips of YouTube videos."""
