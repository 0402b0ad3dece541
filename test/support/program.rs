//! The program `lariat node` with a config file of the test's own, ended with its handle.

use std::process::{Child, Command, Stdio};

use super::erlang::Epmd;

/// A running `lariat node`.
pub(crate) struct Program {
    child: Child,
}

impl Program {
    /// With the text of its config file; HTTP and admin take any port.
    pub(crate) fn start(epmd: &Epmd, config: &str) -> Program {
        let mut command = command(epmd, config);
        let child = command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the program was built for this test");
        Program { child }
    }

    /// Runs until it ends by itself: its exit code and what it said.
    pub(crate) fn run(epmd: &Epmd, config: &str) -> (Option<i32>, String) {
        let output = command(epmd, config)
            .output()
            .expect("the program was built for this test");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), said)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn command(epmd: &Epmd, config: &str) -> Command {
    let folder = tempfile::Builder::new()
        .tempdir_in(env!("CARGO_TARGET_TMPDIR"))
        .expect("the target folder is writable")
        .keep();
    let path = folder.join("lariat.toml");
    std::fs::write(&path, config).expect("the folder is writable");
    let mut command = Command::new(env!("CARGO_BIN_EXE_lariat"));
    command
        .args(["node", "--http", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
        .arg("--config")
        .arg(path)
        .env("ERL_EPMD_PORT", epmd.port.to_string())
        .env_remove("LARIAT_COOKIE")
        .stdin(Stdio::null());
    command
}
