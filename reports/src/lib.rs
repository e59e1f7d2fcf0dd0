//! Run records, histograms, charts and pages.
