//! Claims about OONI data.
