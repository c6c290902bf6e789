//! backup-plugin: keeps dated copies of the folders that its host has synchronised.
//!
//! The main thread reads standard input and dispatches; standard output belongs to the protocol, standard error to
//! the log. The end of standard input is the end of the process.

mod backups;
mod base64;
mod clock;
mod copier;
mod framing;
mod log;
mod routes;
mod rpc;
mod settings;
mod space;

use backups::Backups;
use log::Level;
use rpc::Plugin;
use settings::Settings;
use std::io;
use std::process::ExitCode;
use std::sync::Arc;

/// sysexits.h: a configuration fault. The host does not start a plugin again that ends with it.
const EX_CONFIG: u8 = 78;

fn main() -> ExitCode {
    let backups = match Settings::load().and_then(open) {
        Ok(backups) => backups,
        Err(reason) => {
            log::line(Level::Error, &reason);
            return ExitCode::from(EX_CONFIG);
        }
    };
    let plugin = Plugin::new(backups);
    let code = serve(&plugin);
    plugin.finish();
    code
}

fn open(settings: Settings) -> Result<Backups, String> {
    Backups::open(&settings.root, settings.keep, settings.max_file_bytes)
        .map_err(|error| format!("the backup folder {} cannot be used: {error}", settings.root.display()))
}

fn serve(plugin: &Arc<Plugin>) -> ExitCode {
    let mut input = io::stdin().lock();
    loop {
        match framing::read_frame(&mut input) {
            Ok(Some(body)) => plugin.receive(&body),
            Ok(None) => return ExitCode::SUCCESS,
            Err(error) => {
                log::line(Level::Error, &format!("the host's stream is broken: {error}"));
                return ExitCode::FAILURE;
            }
        }
    }
}
