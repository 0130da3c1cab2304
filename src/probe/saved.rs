//! Saved facts on disk: a folder with one file a host.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::error::{Diagnostic, Result};
use crate::facts::Facts;
use crate::facts::saved::from_json;

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
    use crate::facts::saved::{file_name, to_json};

    #[test]
    fn what_is_saved_is_loaded_again() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("facts");
        assert!(load(&inner).unwrap_err().message().contains("cannot read"));
        fs::create_dir(&inner).unwrap();
        assert!(load(&inner).unwrap_err().message().contains("no saved facts"));
        for host in ["ctl1", "../ctl2", "a b"] {
            let facts = Facts { host: host.to_owned(), uid: 7, ..Facts::default() };
            fs::write(inner.join(file_name(host)), to_json(&facts)).unwrap();
        }
        // What was under way when a run died.
        fs::write(inner.join(".new-x.json"), "{").unwrap();
        let hosts = load(&inner).unwrap();
        assert_eq!(hosts.keys().collect::<Vec<_>>(), ["../ctl2", "a b", "ctl1"]);
        assert_eq!(hosts["ctl1"].uid, 7);
        fs::copy(inner.join("ctl1.json"), inner.join("other.json")).unwrap();
        assert!(load(&inner).unwrap_err().message().contains("two files"));
    }
}
