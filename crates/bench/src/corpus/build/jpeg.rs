//! JPEG files built from segments: images of one colour with any number of components, sampling factors and
//! scans.

use serde::Deserialize;

/// A JPEG of one colour. The defaults give a valid grey one.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Jpeg {
    width: u16,
    /// 0 leaves the height to `lines`.
    height: u16,
    /// The second byte of the frame's marker: 0xc0 is baseline, 0xc2 progressive.
    #[serde(default = "baseline")]
    frame: u8,
    /// Horizontal and vertical sampling factors of each component.
    #[serde(default = "one")]
    sampling: Vec<[u8; 2]>,
    /// The level of each component, 0 to 255.
    #[serde(default = "grey")]
    levels: Vec<u8>,
    /// The colour transform in an Adobe segment: 0 is CMYK, 2 YCCK. No such segment if `None`.
    adobe: Option<u8>,
    /// MCUs between two restart markers.
    restart: Option<u16>,
    /// Further scans, in which every block of the first component is an end of block.
    #[serde(default)]
    scans: usize,
    /// The number of lines in a DNL segment after the first scan.
    lines: Option<u16>,
    /// Markers whose segments are left out.
    #[serde(default)]
    without: Vec<u8>,
}

fn baseline() -> u8 {
    0xc0
}

fn one() -> Vec<[u8; 2]> {
    vec![[1, 1]]
}

fn grey() -> Vec<u8> {
    vec![128]
}

/// The side of a block in samples.
const BLOCK: usize = 8;
/// Size categories of a DC difference, 0 to 11 bits; each has a Huffman code of four bits.
const CATEGORIES: u8 = 12;
/// The symbol EOB14: a run of 2^14 ends of block, plus the value of the next 14 bits.
const MANY_ENDS: u8 = 0xe0;

impl Jpeg {
    pub(super) fn file(&self) -> Vec<u8> {
        let mut file = vec![0xff, 0xd8];
        if let Some(colours) = self.adobe {
            let content = [b"Adobe".as_slice(), &[0, 100, 0, 0, 0, 0, colours]].concat();
            file.extend(self.segment(0xee, &content));
        }
        // All coefficients are quantised by 8, so that a DC coefficient equals a level.
        file.extend(self.segment(0xdb, &[vec![0], vec![8; 64]].concat()));
        let mut frame = vec![8];
        frame.extend(self.height.to_be_bytes());
        frame.extend(self.width.to_be_bytes());
        frame.push(self.sampling.len() as u8);
        for (number, [across, down]) in (1..).zip(&self.sampling) {
            frame.extend([number, across << 4 | down, 0]);
        }
        file.extend(self.segment(self.frame, &frame));
        let mut lengths = [0; 16];
        lengths[3] = CATEGORIES;
        file.extend(self.segment(0xc4, &[vec![0], lengths.to_vec(), (0..CATEGORIES).collect()].concat()));
        // An end of block has the code 0, a run of them the code 10.
        let mut lengths = [0; 16];
        lengths[..2].fill(1);
        file.extend(self.segment(0xc4, &[vec![0x10], lengths.to_vec(), vec![0, MANY_ENDS]].concat()));
        if let Some(units) = self.restart {
            file.extend(self.segment(0xdd, &units.to_be_bytes()));
        }
        let mut head = vec![self.sampling.len() as u8];
        head.extend((1..=self.sampling.len() as u8).flat_map(|number| [number, 0]));
        let last = if self.is_progressive() { 0 } else { 63 };
        head.extend([0, last, 0]);
        file.extend(self.segment(0xda, &head));
        file.extend(self.levels_of_all_blocks());
        if let Some(lines) = self.lines {
            file.extend(self.segment(0xdc, &lines.to_be_bytes()));
        }
        let more = [self.segment(0xda, &[1, 1, 0, 1, 63, 0]), self.ends_of_blocks()].concat();
        file.extend(more.repeat(self.scans));
        file.extend([0xff, 0xd9]);
        file
    }

    fn segment(&self, marker: u8, content: &[u8]) -> Vec<u8> {
        if self.without.contains(&marker) { Vec::new() } else { segment(marker, content) }
    }

    fn is_progressive(&self) -> bool {
        self.frame == 0xc2
    }

    /// The number of MCUs, of `blocks` blocks each, that cover one dimension of `samples` samples.
    fn units(samples: u16, blocks: u8) -> usize {
        usize::from(samples).div_ceil(BLOCK * usize::from(blocks.max(1)))
    }

    /// The data of the first scan.
    fn levels_of_all_blocks(&self) -> Vec<u8> {
        let most = |side: usize| self.sampling.iter().map(|sampling| sampling[side]).max().unwrap_or(1);
        let height = self.lines.filter(|_| self.height == 0).unwrap_or(self.height);
        let units = Self::units(self.width, most(0)) * Self::units(height, most(1));
        let mut bits = Bits::default();
        let mut file = Vec::new();
        let mut first = true;
        for unit in 0..units {
            if let Some(between) = self.restart.map(usize::from)
                && unit > 0
                && between > 0
                && unit % between == 0
            {
                file.extend(bits.end());
                file.extend([0xff, 0xd0 + (unit / between - 1) as u8 % 8]);
                first = true;
            }
            for ([across, down], level) in self.sampling.iter().zip(&self.levels) {
                for block in 0..usize::from(*across) * usize::from(*down) {
                    let difference = if first && block == 0 { i32::from(*level) - 128 } else { 0 };
                    bits.difference(difference);
                    if !self.is_progressive() {
                        bits.put(0, 1);
                    }
                }
            }
            first = false;
        }
        file.extend(bits.end());
        file
    }

    /// The data of a later scan: the fewest codes that end all blocks of the first component.
    fn ends_of_blocks(&self) -> Vec<u8> {
        const LEAST: usize = 1 << 14;
        let mut blocks = Self::units(self.width, 1) * Self::units(self.height, 1);
        let mut bits = Bits::default();
        while blocks >= LEAST {
            let run = blocks.min(2 * LEAST - 1);
            bits.put(0b10, 2);
            bits.put((run - LEAST) as u32, 14);
            blocks -= run;
        }
        for _ in 0..blocks {
            bits.put(0, 1);
        }
        bits.end()
    }
}

/// A marker segment.
pub(super) fn segment(marker: u8, content: &[u8]) -> Vec<u8> {
    [&[0xff, marker], &(content.len() as u16 + 2).to_be_bytes()[..], content].concat()
}

/// The entropy-coded bits of a scan.
#[derive(Debug, Default)]
struct Bits {
    bytes: Vec<u8>,
    /// Bits that do not fill a byte yet, and their number.
    kept: u32,
    count: u32,
}

impl Bits {
    fn put(&mut self, value: u32, count: u32) {
        for bit in (0..count).rev() {
            self.kept = self.kept << 1 | (value >> bit & 1);
            self.count += 1;
            if self.count == 8 {
                let byte = self.kept as u8;
                self.bytes.push(byte);
                if byte == 0xff {
                    self.bytes.push(0); // else it would begin a marker
                }
                (self.kept, self.count) = (0, 0);
            }
        }
    }

    /// Writes a DC difference: its number of bits, then these bits, of the value minus one if it is negative.
    fn difference(&mut self, difference: i32) {
        let count = 32 - difference.unsigned_abs().leading_zeros();
        self.put(count, 4);
        let bits = if difference < 0 { difference - 1 } else { difference };
        self.put(bits as u32 & ((1 << count) - 1), count);
    }

    /// Returns all bytes, the last one padded with ones.
    fn end(&mut self) -> Vec<u8> {
        while self.count > 0 {
            self.put(1, 1);
        }
        std::mem::take(&mut self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(described: serde_json::Value) -> image::DynamicImage {
        let jpeg: Jpeg = serde_json::from_value(described).unwrap();
        image::load_from_memory(&jpeg.file()).unwrap()
    }

    #[test]
    fn what_is_written_is_read_as_one_colour() {
        for more in [json!({}), json!({ "frame": 0xc2, "scans": 3 }), json!({ "restart": 2 })] {
            let mut described = json!({ "width": 40, "height": 20, "levels": [200] });
            described.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            let image = read(described).into_luma8();
            assert_eq!(image.dimensions(), (40, 20));
            assert!(image.pixels().all(|pixel| pixel.0 == [200]), "{:?}", image.get_pixel(0, 0));
        }
        let described = json!({ "width": 40, "height": 20, "sampling": [[2, 2], [1, 1], [1, 1]], "levels": [90, 128, 128] });
        assert!(read(described).into_rgb8().pixels().all(|pixel| pixel.0 == [90; 3]));
    }
}
