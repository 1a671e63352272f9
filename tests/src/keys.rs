//! Keys for tests, created as an operator creates them.

use std::{fs, path::PathBuf, process::Command};

use serde_json::Value;
use tempfile::TempDir;

use crate::{
    http::Response,
    server::{Server, binary},
};

/// A file of keys.
pub struct Keys {
    folder: TempDir,
    keys: Vec<(String, String)>,
}

impl Keys {
    /// Creates a file with these keys: for each its name, and the lines of its entry after name and digest.
    ///
    /// # Panics
    /// When the file cannot be written.
    pub fn new(entries: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let mut keys = Self { folder, keys: Vec::new() };
        keys.write(entries);
        keys
    }

    /// Replaces all keys; a name that was in the file before gets a new key.
    ///
    /// # Panics
    /// When a key cannot be created, or the file not be written.
    pub fn write(&mut self, entries: &[(&str, &str)]) {
        let mut text = String::new();
        self.keys.clear();
        for (name, more) in entries {
            let output =
                Command::new(binary()).args(["key", "new", name]).output().expect("the binary starts");
            let told = String::from_utf8_lossy(&output.stderr).into_owned();
            let key = told.trim().rsplit(' ').next().expect("the key is the last word").to_owned();
            let entry = String::from_utf8_lossy(&output.stdout).trim_end().to_owned();
            text += &format!("{entry}\n{more}\n\n");
            self.keys.push(((*name).to_owned(), key));
        }
        self.put(&text);
    }

    /// Replaces the file's content with any text.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn put(&self, text: &str) {
        fs::write(self.path(), text).expect("a file can be written");
    }

    /// The path of the file.
    pub fn path(&self) -> PathBuf {
        self.folder.path().join("keys.toml")
    }

    /// The key with this name.
    ///
    /// # Panics
    /// When there is none.
    pub fn key(&self, name: &str) -> &str {
        let found = self.keys.iter().find(|(known, _)| known == name);
        &found.unwrap_or_else(|| panic!("no key {name}")).1
    }

    /// A server that requires these keys, with these options.
    pub fn server(&self, options: &[&str]) -> Server {
        let path = self.path().to_string_lossy().into_owned();
        Server::with_options(&[&["--keys-file", &path], options].concat())
    }

    /// Sends a POST request with the key of this name.
    pub fn post(&self, server: &Server, name: &str, (path, body): (&str, &Value)) -> Response {
        let bearer = format!("Bearer {}", self.key(name));
        let headers = [("content-type", "application/json"), ("authorization", &*bearer)];
        server.send("POST", path, &headers, body.to_string().as_bytes())
    }

    /// Sends a GET request with the key of this name.
    pub fn get(&self, server: &Server, name: &str, path: &str) -> Response {
        let bearer = format!("Bearer {}", self.key(name));
        server.send("GET", path, &[("authorization", &*bearer)], b"")
    }
}
