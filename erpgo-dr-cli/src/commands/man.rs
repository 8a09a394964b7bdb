//! `man`: writes the man pages.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use crate::context::Context;
use crate::error::{self, CliError};
use crate::output::Report;

/// Write the man pages into a folder
#[derive(Debug, Args)]
pub(crate) struct ManArgs {
    /// The folder, such as /usr/local/share/man/man1
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,
}

#[derive(Serialize)]
struct Written {
    files: Vec<String>,
}

impl ManArgs {
    pub(super) fn run(self, _context: &Context) -> Result<Report, CliError> {
        let failed = |source| error::io(format!("write into {}", self.folder.display()), source);
        std::fs::create_dir_all(&self.folder).map_err(failed)?;
        let mut command = crate::command().disable_help_subcommand(true);
        command.build();
        let mut written = Written { files: Vec::new() };
        self.write(&command, "erpgo-dr", &mut written).map_err(failed)?;
        let text = format!("{} man pages written into {}\n", written.files.len(), self.folder.display());
        Report::new(&written, text, true)
    }

    fn write(&self, command: &clap::Command, name: &str, written: &mut Written) -> std::io::Result<()> {
        let mut page = Vec::new();
        clap_mangen::Man::new(command.clone().display_name(name)).render(&mut page)?;
        let path = self.folder.join(format!("{name}.1"));
        std::fs::write(&path, page)?;
        written.files.push(path.display().to_string());
        for subcommand in command.get_subcommands() {
            self.write(subcommand, &format!("{name}-{}", subcommand.get_name()), written)?;
        }
        Ok(())
    }
}
