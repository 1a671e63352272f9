//! Single operators against golden data: Pillow's bicubic scaling.

use critic_candle::{RgbImage, resize_bicubic};

use crate::golden::Golden;

#[test]
fn bicubic_scaling_is_pillows_to_the_last_bit() {
    let golden = Golden::open("ops.safetensors");
    for index in 0..6 {
        let dims = |suffix: &str| golden.tensor(&format!("pil_bicubic{index}_{suffix}")).dims().to_vec();
        let (input, output) = (dims("in"), dims("out"));
        let pixels = golden.bytes(&format!("pil_bicubic{index}_in"));
        let image = RgbImage { width: input[1], height: input[0], pixels };
        let scaled = resize_bicubic(&image, output[1], output[0]);
        assert_eq!(scaled.pixels, golden.bytes(&format!("pil_bicubic{index}_out")), "case {index}");
    }
}
