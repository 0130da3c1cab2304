//! The detection model: how long each side needs to notice that the other is dead.
