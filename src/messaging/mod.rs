//! What oslo.messaging's options mean in the release that is installed.
