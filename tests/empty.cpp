// Nothing: a target whose headers are precompiled needs a source.
