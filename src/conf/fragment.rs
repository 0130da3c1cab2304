//! rust-ini as the second reader.
//!
//! rust-ini is a good common INI reader, so where it and oslo.config disagree about a file, a person
//! reading it will probably be wrong too.
