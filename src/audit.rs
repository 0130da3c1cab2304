//! Tasks against facts: findings.
