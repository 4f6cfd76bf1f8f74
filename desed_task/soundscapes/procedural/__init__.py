"""The procedural soundbank: the ten DESED classes synthesised from random numbers, one file per family of sounds.

Each class is one function `(voice, take) -> waveform`: `voice` draws what stays the same about one source (the size of
a throat, the material of a plate, the speed of a motor), `take` draws what happens this time. Two takes of one voice
are two recordings of one source.
"""
