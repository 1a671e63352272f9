//! The unit for systemd, checked by systemd itself, and the server's notifications to systemd.

use std::{
    fs,
    io::{BufRead, BufReader},
    os::unix::net::UnixDatagram,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use gavel_tests::{binary, run_well, signal, tool};

#[test]
fn systemd_takes_the_unit_and_finds_it_well_closed() {
    let unit = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("deploy/systemd/gavel.service");
    let text = fs::read_to_string(&unit).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("gavel.service");
    // The check requires the program to exist at the path in the unit.
    fs::write(&file, text.replace("/usr/local/bin/gavel", &binary().to_string_lossy())).unwrap();
    let Some(mut verify) = tool("systemd-analyze") else { return };
    assert_eq!(run_well(verify.arg("verify").arg(&file), b""), "");
    // The exposure level, of at most 100; a service without any restrictions has 96.
    let Some(mut security) = tool("systemd-analyze") else { return };
    run_well(security.args(["security", "--offline=yes", "--threshold=15"]).arg(&file), b"");
    // All drop-ins of the README together, in the folder that `systemctl edit` uses.
    let readme = fs::read_to_string(unit.with_file_name("README.md")).unwrap();
    let folder = folder.path().join("gavel.service.d");
    fs::create_dir(&folder).unwrap();
    for (index, block) in readme.split("```ini\n").skip(1).enumerate() {
        fs::write(folder.join(format!("{index}.conf")), block.split("```").next().unwrap()).unwrap();
    }
    let Some(mut verify) = tool("systemd-analyze") else { return };
    assert_eq!(run_well(verify.arg("verify").arg(&file), b""), "");
}

#[test]
fn systemd_is_told_of_readiness_of_life_and_of_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let next = || {
        let mut word = [0; 64];
        let length = socket.recv(&mut word).expect("the server says something in time");
        String::from_utf8(word[..length].to_vec()).unwrap()
    };
    let mut process = Command::new(binary())
        .args(["serve", "--port", "0"])
        .env("NOTIFY_SOCKET", &path)
        .env("WATCHDOG_USEC", "100000")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(next(), "READY=1", "before anything else, and not before it listens");
    for _ in 0..3 {
        assert_eq!(next(), "WATCHDOG=1");
    }
    signal(process.id(), "TERM");
    while next() != "STOPPING=1" {}
    assert!(process.wait().unwrap().success());
}
