//! How services are installed on a host, one file a kind.
