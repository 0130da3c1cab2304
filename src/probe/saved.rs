//! Saved facts on disk: a folder with one file a host.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::Path;

use crate::error::{Diagnostic, Result};
use crate::facts::Facts;
use crate::facts::saved::{file_name, from_json, to_json};

/// Writes one host's facts into `folder` (made if need be, for its owner alone), secrets masked. The file
/// has mode 0600 and is replaced whole.
pub fn save(folder: &Path, facts: &Facts) -> Result<()> {
    let path = folder.join(file_name(&facts.host));
    let write = || {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let mut file = tempfile::Builder::new()
            .prefix(".facts-")
            .permissions(fs::Permissions::from_mode(0o600))
            .tempfile_in(folder)?;
        file.write_all(to_json(facts).as_bytes())?;
        file.persist(&path).map_err(|error| error.error)?;
        Ok(())
    };
    write().map_err(|error: std::io::Error| {
        Diagnostic::new(format!("cannot write `{}`: {error}", path.display()))
    })
}

/// The facts of every host saved in `folder`, by inventory name.
pub fn load(folder: &Path) -> Result<BTreeMap<String, Facts>> {
    let cannot = |what: &Path, error: std::io::Error| {
        Diagnostic::new(format!("cannot read `{}`: {error}", what.display()))
            .hint("`trueup facts --save DIR` fills a folder with the facts of hosts")
    };
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).map_err(|error| cannot(folder, error))? {
        let path = entry.map_err(|error| cannot(folder, error))?.path();
        let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if hidden || path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let text = fs::read_to_string(&path).map_err(|error| cannot(&path, error))?;
        let facts = from_json(&path.display().to_string(), &text)?;
        if let Some(twice) = found.insert(facts.host.clone(), facts) {
            return Err(Diagnostic::new(format!(
                "two files in `{}` hold facts of host `{}`",
                folder.display(),
                twice.host
            )));
        }
    }
    if found.is_empty() {
        return Err(Diagnostic::new(format!("no saved facts in `{}`", folder.display()))
            .hint("`trueup facts --save DIR` writes them"));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_saved_is_loaded_again() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("facts");
        assert!(load(&inner).unwrap_err().message().contains("cannot read"));
        for host in ["ctl1", "../ctl2", "a b"] {
            save(&inner, &Facts { host: host.to_owned(), ..Facts::default() }).unwrap();
        }
        save(&inner, &Facts { host: "ctl1".to_owned(), uid: 7, ..Facts::default() }).unwrap();
        let hosts = load(&inner).unwrap();
        assert_eq!(hosts.keys().collect::<Vec<_>>(), ["../ctl2", "a b", "ctl1"]);
        assert_eq!(hosts["ctl1"].uid, 7);
        for entry in fs::read_dir(&inner).unwrap() {
            let mode = entry.unwrap().metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        fs::copy(inner.join("ctl1.json"), inner.join("other.json")).unwrap();
        assert!(load(&inner).unwrap_err().message().contains("two files"));
    }
}
