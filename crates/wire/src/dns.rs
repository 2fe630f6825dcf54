//! DNS messages over UDP and TCP.
