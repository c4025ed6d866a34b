"""What is done with the model: data, trials, engine, experiments, command line."""
