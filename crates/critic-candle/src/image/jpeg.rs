//! Checks of JPEGs that their decoder does not make.

use std::collections::BTreeSet;

use super::pieces::{END, SCAN, START, segments};

/// The markers of the frames that the decoder reads are these two, and the one between, extended sequential.
const SEQUENTIAL: u8 = 0xc0;
const PROGRESSIVE: u8 = 0xc2;

/// Whether the decoder would show another picture than the file contains.
///
/// zune-jpeg 0.5 misreads three kinds of frames without an error, of which the first two are valid but rare: sequential
/// frames whose components are in several scans, unless all sampling factors are 1; frames in which a component has a
/// higher resolution than the first one; and frames of two components, whose colours are not defined.
pub(super) fn is_misread(bytes: &[u8]) -> bool {
    let mut following = segments(bytes);
    let is_frame = |marker: u8| (SEQUENTIAL..=PROGRESSIVE).contains(&marker);
    let Some(frame) = following.find(|segment| is_frame(segment.marker)) else { return false };
    let factors: Vec<(u8, u8)> =
        components(frame.content(bytes)).map(|[_, both]| (both >> 4, both & 15)).collect();
    let Some((first, others)) = factors.split_first() else { return false };
    if others.len() == 1 || others.iter().any(|(across, down)| *across > first.0 || *down > first.1) {
        return true;
    }
    if frame.marker == PROGRESSIVE || factors.iter().all(|factors| *factors == (1, 1)) {
        return false;
    }
    following
        .find(|segment| segment.marker == SCAN)
        .is_some_and(|scan| scanned(scan.content(bytes)).count() < factors.len())
}

/// Whether a JPEG has its end, and before it a scan of each component. The decoder fills what is missing with grey or
/// with a colour, which would be judged as a part of the image.
///
/// Another image that begins before the end means that the file is cut short and that the end is another file's.
/// Thumbnails are inside of segments, and the further images of a file (MPO) follow its end.
pub(super) fn is_whole(bytes: &[u8]) -> bool {
    let (mut missing, mut ends) = (BTreeSet::new(), false);
    for segment in segments(bytes) {
        let content = segment.content(bytes);
        match segment.marker {
            SEQUENTIAL..=PROGRESSIVE => missing.extend(components(content).map(|[id, _]| id)),
            SCAN => scanned(content).for_each(|id| {
                missing.remove(&id);
            }),
            END | START => {
                ends = segment.marker == END;
                break;
            }
            _ => {}
        }
    }
    ends && missing.is_empty()
}

/// Identifier and sampling factors of each component, from the content of a frame's segment.
fn components(frame: &[u8]) -> impl Iterator<Item = [u8; 2]> {
    // Before them are the precision, height, width and number of components.
    let (count, each) = match frame {
        [_, _, _, _, _, count, each @ ..] => (usize::from(*count), each),
        _ => (0, frame),
    };
    each.chunks_exact(3).take(count).map(|component| [component[0], component[1]])
}

/// The identifiers of the components in a scan, from the content of its segment.
fn scanned(scan: &[u8]) -> impl Iterator<Item = u8> {
    let (count, each) = scan.split_first().map_or((0, scan), |(count, each)| (usize::from(*count), each));
    each.chunks_exact(2).take(count).map(|component| component[0])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(marker: u8, content: &[u8]) -> Vec<u8> {
        [&[0xff, marker][..], &(content.len() as u16 + 2).to_be_bytes(), content].concat()
    }

    /// The header of a frame, with identifiers from 1.
    fn frame(marker: u8, sampling: &[u8]) -> Vec<u8> {
        let each = (1..).zip(sampling).flat_map(|(id, factors)| [id, *factors, 0]);
        let content: Vec<u8> = [8, 0, 16, 0, 16, sampling.len() as u8].into_iter().chain(each).collect();
        segment(marker, &content)
    }

    fn scan(ids: &[u8]) -> Vec<u8> {
        let each = ids.iter().flat_map(|id| [*id, 0]);
        let content: Vec<u8> = [ids.len() as u8].into_iter().chain(each).chain([0, 63, 0]).collect();
        [segment(SCAN, &content), b"data".to_vec()].concat()
    }

    fn file(parts: &[Vec<u8>]) -> Vec<u8> {
        [b"\xff\xd8".to_vec(), segment(0xe0, b"JFIF\0"), parts.concat(), b"\xff\xd9".to_vec()].concat()
    }

    #[test]
    fn what_the_decoder_misreads_is_told_from_what_it_reads() {
        let all = [1, 2, 3];
        for (marker, sampling, first_scan, expected) in [
            (0xc0, &[0x22, 0x11, 0x11][..], &all[..], false),
            (0xc0, &[0x22, 0x11, 0x11], &all[..1], true),
            (0xc1, &[0x12, 0x11, 0x11], &all[..2], true),
            (0xc0, &[0x21, 0x11, 0x11], &all[1..], true),
            (0xc0, &[0x11, 0x11, 0x11], &all[..1], false),
            (0xc2, &[0x22, 0x11, 0x11], &all[..1], false),
            (0xc0, &[0x22], &all[..1], false),
            (0xc0, &[0x11, 0x21, 0x21], &all[..], true),
            (0xc0, &[0x21, 0x12, 0x11], &all[..], true),
            (0xc2, &[0x11, 0x21, 0x21], &all[..], true),
            (0xc0, &[0x22, 0x21, 0x12], &all[..], false),
            (0xc0, &[0x11, 0x11], &all[..2], true),
        ] {
            let file = file(&[frame(marker, sampling), segment(0xdd, &[0, 9]), scan(first_scan)]);
            assert_eq!(is_misread(&file), expected, "{marker:x} {sampling:x?} {first_scan:?}");
        }
        assert!(!is_misread(b"\xff\xd8\xff\xc0\0\x02\xff\xd9") && !is_misread(&file(&[scan(&all)])));
    }

    #[test]
    fn a_file_is_whole_when_it_ends_after_all_components_and_before_another_image() {
        let header = frame(0xc0, &[0x11; 3]);
        let whole = file(&[header.clone(), scan(&[3, 1, 2])]);
        assert!(is_whole(&whole) && is_whole(&file(&[header.clone(), scan(&[2]), scan(&[1]), scan(&[3])])));
        assert!(!is_whole(&file(&[header.clone(), scan(&[1]), scan(&[1, 2])])), "a component is missing");
        for length in 0..whole.len() {
            let part = &whole[..length];
            assert!(!is_whole(part), "{length}");
            // A header that is cut may take the beginning of the other file as its own content, as in any decoder.
            let is_in_scan = length >= whole.len() - b"data\xff\xd9".len();
            assert!(!is_in_scan || !is_whole(&[part, &whole].concat()), "{length} and another image");
        }
        assert!(is_whole(&[whole.as_slice(), &whole].concat()), "other images of a file follow its end");
        let thumbnail = segment(0xe1, &[b"Exif\0\0", whole.as_slice()].concat());
        assert!(is_whole(&file(&[thumbnail, header, scan(&[1, 2, 3])])));
    }
}
