"""What is seen: measures, firing statistics, figures and the report of a run.

Everything here reads tidy frames (one row per observation, units in the column
names) and nothing here simulates.

- :mod:`bsd.analysis.measures`: similarity of spike trains and weights, decisions, accuracy
- :mod:`bsd.analysis.firing`: rates and silent cells
- :mod:`bsd.analysis.spike_trains`: intervals, CV, CV2, LV, Fano factor, latency, PSTH
- :mod:`bsd.analysis.populations`: correlation, synchrony, sparseness, tuning, dimensionality
- :mod:`bsd.analysis.information`: mutual information between spike counts and concept
- :mod:`bsd.analysis.energy`: operations and energy against a dense network
- :mod:`bsd.analysis.hypotheses`: comparisons of two conditions, d', psychometric functions
- :mod:`bsd.analysis.generation`: Fréchet distance and figures of generated images
- :mod:`bsd.analysis.interchange`: to and from Neo, to pynapple
- :mod:`bsd.analysis.figures`, :mod:`bsd.analysis.firing_figures`: one function per figure
- :mod:`bsd.analysis.report`: a results folder turned into one HTML file
"""
