//! OpenStack services as data.
