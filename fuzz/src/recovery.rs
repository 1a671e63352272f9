//! Stores as a killed process or a bad disk leaves them: refused, or opened with a beginning of what was written and
//! nothing else.

use std::{
    collections::HashSet,
    fs,
    io::Read,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

use store::{
    BatchUsage, FilePage, Incoming, Limits, LineResult, NewBatch, NewFile, Order, Purpose, Store, StoreQuota,
};

use super::{bytes::Bytes, scratch::Scratch};

const LIMITS: Limits =
    Limits { max_file_bytes: 1 << 20, max_stored_bytes: 1 << 24, max_files: 100, keep_for_s: None };
const OWNER: &str = "one";
const DATABASE: &str = "gavel.sqlite";
const LOG: &str = "gavel.sqlite-wal";

/// A store, as a copy of its files.
struct Kept {
    files: Vec<(PathBuf, Vec<u8>)>,
    /// The ids and bytes of its contents, in the order in which they were recorded.
    contents: Vec<(String, Vec<u8>)>,
    batch: String,
}

/// A store whose process was killed, with all records in the write-ahead log of the database, and one that was closed.
fn stores() -> &'static [Kept; 2] {
    static STORES: OnceLock<[Kept; 2]> = OnceLock::new();
    STORES.get_or_init(|| {
        let folder = Scratch::new("store");
        let store = Arc::new(Store::open(&folder, LIMITS).expect("a new store opens"));
        let contents =
            [&b"first"[..], b"", &[7; 3000]].map(|content| (keep(&store, content), content.to_vec()));
        let batch = store.begin_batch(&NewBatch {
            owner: OWNER.into(),
            endpoint: "/judge".into(),
            input_file: contents[0].0.clone(),
            completion_window: "24h".into(),
            window_s: 86_400,
            metadata: "{}".into(),
            model: "m".into(),
            idempotency_key: Some("key".into()),
        });
        let batch = batch.expect("a batch begins").id;
        store.begin_lines(&batch, 9).expect("its lines are counted");
        for line in [1, 2] {
            let text = format!("line {line}");
            let result = LineResult { line, failed: false, text, usage: BatchUsage::default() };
            store.add_results(&batch, &[result]).expect("a result is written");
        }
        let kept =
            |folder: &Path| Kept { files: read(folder), contents: contents.to_vec(), batch: batch.clone() };
        let killed = kept(&folder);
        drop(store);
        [killed, kept(&folder)]
    })
}

fn keep(store: &Arc<Store>, content: &[u8]) -> String {
    let quota = StoreQuota { owner: OWNER.into(), share: 1.0 };
    let mut incoming = Incoming::begin(store, quota).expect("there is room");
    incoming.write(content).expect("there is room");
    let new =
        NewFile { owner: OWNER.into(), name: "a".into(), purpose: Purpose::Batch, expires_after_s: None };
    store.keep(incoming, &new).expect("there is room").id
}

/// All files below a folder, with their paths relative to it.
fn read(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let (mut files, mut waiting) = (Vec::new(), vec![folder.to_path_buf()]);
    while let Some(next) = waiting.pop() {
        for entry in fs::read_dir(next).expect("a folder can be read") {
            let path = entry.expect("a folder can be read").path();
            if path.is_dir() {
                waiting.push(path);
            } else {
                let name = path.strip_prefix(folder).expect("it is below the folder").to_path_buf();
                files.push((name, fs::read(path).expect("a file can be read")));
            }
        }
    }
    files.sort();
    files
}

/// Panics when a damaged store opens with something that was never stored, or with a gap in what was.
pub fn run(data: &[u8]) {
    let mut bytes = Bytes(data);
    let kept = &stores()[bytes.below(2)];
    let mut files = kept.files.clone();
    // Only the write-ahead log has checksums.
    let (mut sound, mut contents_sound) = (true, true);
    for _ in 0..8 {
        if bytes.is_empty() {
            break;
        }
        let which = bytes.below(8);
        let name = match which {
            0 => PathBuf::from(DATABASE),
            1 => PathBuf::from("files").join(&kept.contents[2].0),
            2 => PathBuf::from("incoming/half"),
            3 => PathBuf::from("files/file-stray"),
            _ => PathBuf::from(LOG),
        };
        sound &= which != 0;
        contents_sound &= which != 1;
        damage(&mut files, name, &mut bytes);
    }
    let folder = Scratch::new("recovery");
    for (name, content) in &files {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().expect("it is in the folder")).expect("a folder can be made");
        fs::write(path, content).expect("a file can be written");
    }
    match Store::open(&folder, LIMITS) {
        Ok(store) => {
            let store = Arc::new(store);
            look(&store, kept, sound, contents_sound);
            if sound {
                keep(&store, b"another");
            }
        }
        Err(error) => assert!(!sound || !error.to_string().is_empty()),
    }
    if sound {
        let again = read(&folder);
        let refused = |(name, content): &(PathBuf, Vec<u8>)| {
            name.starts_with("files")
                && !content.is_empty()
                && kept.contents.iter().all(|(_, own)| own != content)
        };
        assert!(
            !contents_sound || again.iter().filter(|file| refused(file)).count() <= 1,
            "something stray is left"
        );
    }
}

/// Makes one change to a file.
fn damage(files: &mut Vec<(PathBuf, Vec<u8>)>, name: PathBuf, bytes: &mut Bytes<'_>) {
    let place = match files.iter().position(|(known, _)| *known == name) {
        Some(place) => place,
        None => {
            files.push((name, Vec::new()));
            files.len() - 1
        }
    };
    let content = &mut files[place].1;
    let offset = (usize::from(bytes.byte()) << 8 | usize::from(bytes.byte())) * 2;
    let offset = offset.min(content.len());
    match bytes.below(4) {
        0 => content.truncate(offset),
        1 => {
            let more: Vec<u8> = (0..=bytes.below(16)).map(|_| bytes.byte()).collect();
            let end = (offset + more.len()).min(content.len());
            content.splice(offset..end, more);
        }
        2 => {
            let bit = bytes.below(8);
            if let Some(byte) = content.get_mut(offset) {
                *byte ^= 1 << bit;
            }
        }
        _ => {
            let part = content[offset..(offset + 64).min(content.len())].to_vec();
            content.extend(part);
        }
    }
}

fn look(store: &Arc<Store>, kept: &Kept, sound: bool, contents_sound: bool) {
    let page = FilePage { purpose: None, after: None, limit: 100, order: Order::Ascending };
    let files = store.files(OWNER, &page);
    let (batch, lines) = (store.batch(OWNER, &kept.batch), store.done_lines(&kept.batch));
    let figures = store.figures();
    // Every operation on a damaged database returns, with an error or without.
    let _ = (store.unfinished(), store.sweep(), store.batches(OWNER, None, 10));
    if !sound {
        return;
    }
    let (files, more) = files.expect("a sound database can be read");
    assert!(!more && figures.expect("a sound database can be read").files == files.len() as u64);
    assert!(files.len() <= kept.contents.len());
    for (file, (id, content)) in files.iter().zip(&kept.contents) {
        assert_eq!(file.id, *id, "records are there from the first on");
        let mut found = Vec::new();
        store
            .open_content(id)
            .expect("a record has its content")
            .read_to_end(&mut found)
            .expect("it can be read");
        assert!(!contents_sound || found == *content);
    }
    let lines = lines.expect("a sound database can be read");
    assert!([HashSet::new(), HashSet::from([1]), HashSet::from([1, 2])].contains(&lines));
    assert!(batch.is_err() || files.len() == kept.contents.len(), "a batch and not what was before it");
    assert!(lines.is_empty() || batch.is_ok(), "results and not their batch");
}
