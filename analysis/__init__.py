"""What is seen: measures, firing statistics, figures and the report of a run.

Everything here reads tidy frames (one row per observation, units in the column
names) and nothing here simulates.

- :mod:`bsd.analysis.measures`: similarity of spike trains and weights, decisions, accuracy
- :mod:`bsd.analysis.firing`: rates and silent cells
- :mod:`bsd.analysis.figures`: one function per figure
- :mod:`bsd.analysis.report`: a results folder turned into one HTML file
"""
