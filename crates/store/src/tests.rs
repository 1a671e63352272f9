//! Tests of the store in a folder of its own, closed and opened again.

use std::{collections::HashSet, fs, io::Read, path::Path, sync::Arc};

use super::*;

const LIMITS: Limits = Limits { max_file_bytes: 100, max_stored_bytes: 250, max_files: 4, keep_for_s: None };

fn open(folder: &Path) -> Arc<Store> {
    Arc::new(Store::open(folder, LIMITS).unwrap())
}

fn keep(store: &Arc<Store>, owner: &str, content: &[u8]) -> Result<FileRecord, StoreError> {
    let mut incoming = Incoming::begin(store, StoreQuota { owner: owner.into(), share: 1.0 })?;
    content.chunks(7).try_for_each(|piece| incoming.write(piece))?;
    let new =
        NewFile { owner: owner.into(), name: "a".into(), purpose: Purpose::Batch, expires_after_s: None };
    store.keep(incoming, &new)
}

fn begin(store: &Arc<Store>, owner: &str, input: &FileRecord) -> Result<Batch, StoreError> {
    store.begin_batch(&NewBatch {
        owner: owner.into(),
        endpoint: "/judge".into(),
        input_file: input.id.clone(),
        completion_window: "24h".into(),
        window_s: 86_400,
        metadata: "{}".into(),
        model: "m".into(),
        idempotency_key: None,
    })
}

fn result(line: i64, failed: bool) -> LineResult {
    let usage = BatchUsage { input_tokens: 5, output_tokens: 2, ..BatchUsage::default() };
    LineResult { line, failed, text: format!("line {line}"), usage }
}

fn result_files(store: &Arc<Store>, batch: &Batch) -> ResultFiles {
    let write = |kind| store.write_results(&batch.id, kind).unwrap();
    ResultFiles { answers: write(ResultKind::Answers), errors: write(ResultKind::Errors) }
}

fn content(store: &Store, id: &str) -> String {
    let mut text = String::new();
    store.open_content(id).unwrap().read_to_string(&mut text).unwrap();
    text
}

#[test]
fn what_was_kept_is_there_after_a_restart_and_what_was_not_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let kept = keep(&store, "one", b"some content").unwrap();
    let mut half = Incoming::begin(&store, StoreQuota { owner: "one".into(), share: 1.0 }).unwrap();
    half.write(b"half of it").unwrap();
    std::mem::forget(half); // as when the process is killed
    fs::write(folder.path().join("files/file-unrecorded"), b"x").unwrap();
    drop(store);
    let store = Store::open(folder.path(), LIMITS);
    // `half` was forgotten and keeps the old store open, as another process would.
    assert!(matches!(store, Err(StoreError::Taken { .. })), "{store:?}");
    let copy = tempfile::tempdir().unwrap();
    for part in ["gavel.sqlite", "gavel.sqlite-wal"] {
        fs::copy(folder.path().join(part), copy.path().join(part)).unwrap();
    }
    for part in ["files", "incoming"] {
        fs::create_dir(copy.path().join(part)).unwrap();
        for entry in fs::read_dir(folder.path().join(part)).unwrap().map(Result::unwrap) {
            fs::copy(entry.path(), copy.path().join(part).join(entry.file_name())).unwrap();
        }
    }
    let store = open(copy.path());
    assert_eq!(store.file("one", &kept.id).unwrap(), kept);
    assert_eq!(content(&store, &kept.id), "some content");
    let names = |part: &str| fs::read_dir(copy.path().join(part)).unwrap().count();
    assert_eq!((names("files"), names("incoming")), (1, 0));
}

#[test]
fn contents_whose_database_is_lost_are_not_removed() {
    let folder = tempfile::tempdir().unwrap();
    let kept = keep(&open(folder.path()), "one", b"some content").unwrap();
    let [database, moved] = ["gavel.sqlite", "moved"].map(|name| folder.path().join(name));
    fs::rename(&database, &moved).unwrap();
    assert!(matches!(Store::open(folder.path(), LIMITS), Err(StoreError::Lost { .. })));
    assert!(matches!(Store::open(folder.path(), LIMITS), Err(StoreError::Lost { .. })), "it stays so");
    fs::rename(moved, database).unwrap();
    assert_eq!(content(&open(folder.path()), &kept.id), "some content");
}

#[test]
fn bounds_are_kept_and_named() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    assert!(matches!(keep(&store, "one", &[0; 101]), Err(StoreError::FileTooLarge { limit_bytes: 100 })));
    keep(&store, "one", &[0; 100]).unwrap();
    let second = keep(&store, "two", &[0; 100]).unwrap();
    assert!(matches!(keep(&store, "one", &[0; 51]), Err(StoreError::Full { limit_bytes: 250 })));
    let mut on_its_way = Incoming::begin(&store, StoreQuota { owner: "one".into(), share: 1.0 }).unwrap();
    on_its_way.write(&[0; 40]).unwrap();
    assert!(matches!(keep(&store, "one", &[0; 11]), Err(StoreError::Full { .. })));
    drop(on_its_way);
    keep(&store, "one", &[0; 11]).unwrap();
    keep(&store, "one", &[0; 1]).unwrap();
    assert!(matches!(keep(&store, "one", &[0; 1]), Err(StoreError::TooManyFiles { limit: 4 })));
    store.delete_file("two", &second.id).unwrap();
    keep(&store, "one", &[0; 1]).unwrap();
    assert_eq!(fs::read_dir(folder.path().join("incoming")).unwrap().count(), 0);
    assert_eq!(fs::read_dir(folder.path().join("files")).unwrap().count(), 4);
}

#[test]
fn one_owner_cannot_take_the_room_of_all() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let quota = |owner: &str| StoreQuota { owner: owner.into(), share: 0.5 };
    let keep = |owner: &str, content: &[u8]| {
        let mut incoming = Incoming::begin(&store, quota(owner))?;
        incoming.write(content)?;
        let (owner, purpose) = (owner.to_owned(), Purpose::Batch);
        store.keep(incoming, &NewFile { owner, name: "a".into(), purpose, expires_after_s: None })
    };
    keep("one", &[0; 90]).unwrap();
    assert!(matches!(keep("one", &[0; 36]), Err(StoreError::PartFull { limit_bytes: 125 })));
    // Of two files that are written at once, the second one is refused when it is stored.
    let [mut first, mut second] = [(); 2].map(|()| Incoming::begin(&store, quota("one")).unwrap());
    first.write(&[0; 20]).unwrap();
    second.write(&[0; 20]).unwrap();
    let new =
        NewFile { owner: "one".into(), name: "b".into(), purpose: Purpose::Batch, expires_after_s: None };
    store.keep(first, &new).unwrap();
    assert!(matches!(store.keep(second, &new), Err(StoreError::PartTooManyFiles { limit: 2 })));
    assert!(matches!(keep("one", &[]), Err(StoreError::PartTooManyFiles { limit: 2 })));
    keep("two", &[0; 100]).unwrap();
    assert_eq!(fs::read_dir(folder.path().join("files")).unwrap().count(), 3);
}

#[test]
fn nobody_finds_what_is_another_s() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let file = keep(&store, "one", b"x").unwrap();
    let batch = begin(&store, "one", &file).unwrap();
    let page = FilePage { purpose: None, after: None, limit: 10, order: Order::Ascending };
    assert!(store.file("two", &file.id).is_err() && store.image_by_content("two", &file.sha256).is_err());
    assert!(store.delete_file("two", &file.id).is_err() && store.files("two", &page).unwrap().0.is_empty());
    assert!(store.batch("two", &batch.id).is_err() && store.cancel_batch("two", &batch.id).is_err());
    assert!(store.batches("two", None, 10).unwrap().0.is_empty() && begin(&store, "two", &file).is_err());
    assert_eq!(store.files("one", &page).unwrap(), (vec![file], false));
}

#[test]
fn a_result_is_there_once_and_in_one_of_two_files_at_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let file = keep(&store, "one", b"x").unwrap();
    let batch = begin(&store, "one", &file).unwrap();
    assert!(matches!(store.delete_file("one", &file.id), Err(StoreError::FileInUse { .. })));
    store.begin_lines(&batch.id, 3).unwrap();
    store.add_results(&batch.id, &[result(3, false), result(2, true)]).unwrap();
    store.add_results(&batch.id, &[result(3, false), result(1, false)]).unwrap();
    assert_eq!(store.done_lines(&batch.id).unwrap(), HashSet::from([1, 2, 3]));
    assert!(store.begin_finalizing(&batch.id).unwrap());
    store.end_batch(&batch, Ended::Completed, result_files(&store, &batch)).unwrap();
    let batch = store.batch("one", &batch.id).unwrap();
    assert_eq!(
        (batch.state, batch.counts),
        (BatchState::Completed, Counts { total: 3, completed: 2, failed: 1 })
    );
    assert_eq!((batch.usage.input_tokens, batch.usage.output_tokens), (15, 6));
    assert_eq!(content(&store, batch.output_file.as_deref().unwrap()), "line 1\nline 3\n");
    assert_eq!(content(&store, batch.error_file.as_deref().unwrap()), "line 2\n");
    assert!(store.done_lines(&batch.id).unwrap().is_empty() && store.unfinished().unwrap().is_empty());
    assert_eq!(store.cancel_batch("one", &batch.id).unwrap(), batch);
    store.delete_file("one", &file.id).unwrap();
}

#[test]
fn contents_whose_record_cannot_be_written_are_gone() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let file = keep(&store, "one", b"x").unwrap();
    let batch = begin(&store, "one", &file).unwrap();
    store.add_results(&batch.id, &[result(1, false), result(2, true)]).unwrap();
    let names = |part: &str| -> HashSet<_> {
        let entries = fs::read_dir(folder.path().join(part)).unwrap();
        entries.map(|entry| entry.unwrap().path()).collect()
    };
    let [input, nothing] = [names("files"), HashSet::new()];
    let write = || result_files(&store, &batch);
    // What fails: the record, the commit of the transaction, and the second of two contents.
    let refused = "CREATE TRIGGER refuses BEFORE INSERT ON files BEGIN SELECT RAISE(ABORT, 'no'); END";
    let uncommitted = "PRAGMA foreign_keys = ON; CREATE TABLE broken (id REFERENCES files (id) DEFERRABLE INITIALLY DEFERRED); \
                       CREATE TRIGGER refuses AFTER INSERT ON files BEGIN INSERT INTO broken VALUES (''); END";
    for fault in [refused, uncommitted] {
        store.database().execute_batch(fault).unwrap();
        keep(&store, "one", b"y").unwrap_err();
        store.end_batch(&batch, Ended::Completed, write()).unwrap_err();
        assert_eq!([names("files"), names("incoming")], [input.clone(), nothing.clone()], "{fault}");
        store.database().execute_batch("DROP TRIGGER refuses").unwrap();
    }
    let answers = store.write_results(&batch.id, ResultKind::Answers).unwrap();
    let before = names("incoming");
    let errors = store.write_results(&batch.id, ResultKind::Errors).unwrap();
    names("incoming").difference(&before).for_each(|path| fs::remove_file(path).unwrap());
    store.end_batch(&batch, Ended::Completed, ResultFiles { answers, errors }).unwrap_err();
    assert_eq!(names("files"), input);
    // None of these failures lost a result.
    store.end_batch(&batch, Ended::Completed, write()).unwrap();
    let batch = store.batch("one", &batch.id).unwrap();
    assert_eq!(content(&store, batch.output_file.as_deref().unwrap()), "line 1\n");
    assert_eq!(content(&store, batch.error_file.as_deref().unwrap()), "line 2\n");
}

#[test]
fn what_is_past_its_time_is_not_found_and_then_swept_but_not_under_a_batch() {
    let folder = tempfile::tempdir().unwrap();
    let limits = Limits { keep_for_s: Some(0), ..LIMITS };
    let store = Arc::new(Store::open(folder.path(), limits).unwrap());
    let file = keep(&store, "one", b"x").unwrap();
    let used = keep(&store, "one", b"y").unwrap();
    let batch = begin(&store, "one", &used).unwrap();
    assert!(store.file("one", &file.id).is_err());
    assert_eq!(store.sweep().unwrap(), 1);
    assert_eq!(content(&store, &used.id), "y");
    store.cancel_batch("one", &batch.id).unwrap();
    store.end_batch(&batch, Ended::Cancelled, ResultFiles::default()).unwrap();
    assert_eq!(store.sweep().unwrap(), 1);
    assert!(store.batch("one", &batch.id).is_err());
    assert_eq!(fs::read_dir(folder.path().join("files")).unwrap().count(), 0);
}

#[test]
fn room_of_results_is_given_back() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let file = keep(&store, "one", b"x").unwrap();
    let batch = begin(&store, "one", &file).unwrap();
    store.begin_lines(&batch.id, 1).unwrap();
    let size = || -> i64 {
        let database = store.database();
        let read = |name| database.pragma_query_value(None, name, |row| row.get::<_, i64>(0)).unwrap();
        read("page_count") * read("page_size")
    };
    let text = "x".repeat(1 << 20);
    store.add_results(&batch.id, &[LineResult { text, ..result(1, false) }]).unwrap();
    assert!(size() > 1 << 20);
    store.end_batch(&batch, Ended::Cancelled, ResultFiles::default()).unwrap();
    store.sweep().unwrap();
    assert!(size() < 1 << 20, "{} bytes are left", size());
}

#[test]
fn pages_are_cut_where_they_were_asked_to_be() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let ids: Vec<String> = (0..4).map(|_| keep(&store, "one", b"x").unwrap().id).collect();
    let page = |after: Option<&String>, limit, order| {
        let page = FilePage { purpose: Some(Purpose::Batch), after: after.cloned(), limit, order };
        let (files, more) = store.files("one", &page).unwrap();
        (files.into_iter().map(|file| file.id).collect::<Vec<_>>(), more)
    };
    assert_eq!(page(None, 3, Order::Ascending), (ids[..3].to_vec(), true));
    assert_eq!(page(Some(&ids[2]), 3, Order::Ascending), (ids[3..].to_vec(), false));
    assert_eq!(page(Some(&ids[2]), 2, Order::Descending), (vec![ids[1].clone(), ids[0].clone()], false));
    let other = FilePage { purpose: Some(Purpose::Vision), after: None, limit: 9, order: Order::Ascending };
    assert!(store.files("one", &other).unwrap().0.is_empty());
}

#[test]
fn states_are_listed_by_whether_nothing_more_happens_to_them() {
    let (ended, others) = (BatchState::sql_names(BatchState::is_end), batches::unfinished_condition());
    assert_eq!(ended, "'completed', 'failed', 'expired', 'cancelled'");
    assert_eq!(others, "state IN ('validating', 'in_progress', 'finalizing', 'cancelling')");
}

#[test]
fn a_record_of_another_version_is_no_failure_of_the_database() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let input = keep(&store, "one", b"a line").unwrap();
    let batch = begin(&store, "one", &input).unwrap();
    for (column, wrong, right) in [("state", "paused", "validating"), ("errors", "[{}]", "[]")] {
        let set = |value: &str| {
            let sql = format!("UPDATE batches SET {column} = ? WHERE id = ?");
            store.database().execute(&sql, [value, &batch.id]).unwrap();
        };
        set(wrong);
        assert!(matches!(store.any_batch(&batch.id), Err(StoreError::Record(_))), "{column}");
        assert!(matches!(store.batches("one", None, 9), Err(StoreError::Record(_))), "{column}");
        set(right);
        assert_eq!(store.any_batch(&batch.id).unwrap(), batch);
    }
}
