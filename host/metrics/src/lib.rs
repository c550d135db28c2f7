//! Metrics: definitions, series, samples, intervals and their queries.
