//! Who the hosts are, as ansible-core 2.19 reads it.
