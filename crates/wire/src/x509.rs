//! As much of a certificate as tells a substituted one.
