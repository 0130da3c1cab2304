//! `trueup config`.

use std::path::{Path, PathBuf};

use crate::cli::args::ConfigArgs;
use crate::cli::output::Output;
use crate::conf::oslo::{self, Config, show};
use crate::error::{Diagnostic, Exit, Result};

/// Shows what an OpenStack service would read from these files and folders.
pub fn run(args: &ConfigArgs, output: Output) -> Result<Exit> {
    let mut paths = args.files.clone();
    for folder in &args.config_dir {
        paths.extend(fragments(folder)?);
    }
    let mut files = Vec::new();
    for path in &paths {
        let bytes = std::fs::read(path).map_err(|error| unreadable(path, &error))?;
        files.push(oslo::read(&path.display().to_string(), &bytes)?);
    }
    let config = Config::new(files);
    output.answer(&match args.format.as_str() {
        "json" => format!("{:#}\n", show::json(&config)),
        _ => show::text(&config),
    });
    Ok(Exit::Compliant)
}

/// The `*.conf` files of a folder, sorted bytewise, as `--config-dir` reads them.
fn fragments(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder).map_err(|error| unreadable(folder, &error))?;
    let mut names: Vec<PathBuf> = Vec::new();
    for entry in entries {
        let path = entry.map_err(|error| unreadable(folder, &error))?.path();
        let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if !hidden && path.extension().is_some_and(|end| end == "conf") {
            names.push(path);
        }
    }
    names.sort_by(|a, b| a.as_os_str().as_encoded_bytes().cmp(b.as_os_str().as_encoded_bytes()));
    Ok(names)
}

fn unreadable(path: &Path, error: &std::io::Error) -> Diagnostic {
    Diagnostic::new(format!("`{}` cannot be read: {error}", path.display()))
}
