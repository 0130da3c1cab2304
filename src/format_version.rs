//! Versions of saved forms, `MAJOR.MINOR`: the minor one grows with what a reader may pass over.

/// Can what reads the form `own` read what was written in the form `found`?
pub fn can_read(own: &str, found: &str) -> bool {
    let major = |version: &str| version.split('.').next().and_then(|major| major.parse::<u32>().ok());
    major(own).is_some() && major(own) == major(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_major_version_decides() {
        for (own, found, expected) in [
            ("1.0", "1.0", true),
            ("1.0", "1.7", true),
            ("1.3", "1", true),
            ("1.0", "2.0", false),
            ("1.0", "10.0", false),
            ("1.0", "", false),
            ("1.0", "one", false),
        ] {
            assert_eq!(can_read(own, found), expected, "{own} reads {found}");
        }
    }
}
