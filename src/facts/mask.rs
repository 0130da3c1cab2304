//! Facts without their secrets.

use crate::conf::secret::{self, Kind};
use crate::facts::{Facts, Reading};

impl Facts {
    /// The same facts with every secret masked, in files, command lines, environments and answers of
    /// commands; what is no secret stays to the byte, and so does the hash of each file's real bytes.
    #[must_use]
    pub fn masked(&self) -> Self {
        let mut masked = Self { masked: true, ..self.clone() };
        for (path, reading) in &mut masked.files {
            if let Reading::Known(file) = reading {
                file.content = secret::mask_file(Kind::of(path), &file.content).into();
            }
        }
        for process in masked.processes.values_mut() {
            process.argv = secret::mask_argv(&process.argv);
            process.environ = secret::mask_environ(&process.environ);
        }
        for answer in masked.commands.values_mut() {
            for text in [&mut answer.stdout, &mut answer.stderr] {
                *text = secret::mask_file(Kind::Text, text);
            }
        }
        for operation in masked.history.iter_mut().flat_map(|history| &mut history.operations) {
            if let Some(by) = &mut operation.by {
                *by = secret::mask_file(Kind::Text, by);
            }
        }
        masked
    }
}
