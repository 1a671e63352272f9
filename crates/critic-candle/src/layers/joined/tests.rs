//! Weights as read from files: the stored bits, in place or copied, alone or joined.

use std::{fs, path::Path};

use kernels::Linear;

use super::*;
use crate::{
    device::ComputeDevice,
    parallel::{Rank, Shard},
    source::Source,
    weights::{
        GgufNaming, Weights,
        gguf_format::{ALIGNMENT, MAGIC, tensor_type},
    },
};

static NAMING: GgufNaming = GgufNaming { architectures: &[], names: |_| Vec::new() };

/// Inputs of a weight: two blocks of 32 in each row.
const INPUT: usize = 64;

/// A tensor to write to a file, with rows of [`INPUT`] weights.
struct Written {
    name: &'static str,
    dtype: &'static str,
    rows: usize,
    bytes: Vec<u8>,
}

/// Large and small numbers of both signs.
fn numbers(rows: usize, seed: usize) -> Vec<f32> {
    (0..rows * INPUT)
        .map(|index| ((index * 37 + seed) as f32 * 0.7).sin() * 10_f32.powi(index as i32 % 7 - 3))
        .collect()
}

/// Writes a file whose data begins `shift` bytes after a multiple of eight.
fn write_safetensors(folder: &Path, shift: usize, tensors: &[Written]) {
    let mut end = 0;
    let entries: Vec<String> = tensors
        .iter()
        .map(|Written { name, dtype, rows, bytes }| {
            let start = end;
            end += bytes.len();
            format!(
                r#""{name}":{{"dtype":"{dtype}","shape":[{rows},{INPUT}],"data_offsets":[{start},{end}]}}"#
            )
        })
        .collect();
    let mut header = format!("{{{}}}", entries.join(","));
    while header.len() % 8 != shift {
        header.push(' ');
    }
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header.as_bytes());
    tensors.iter().for_each(|tensor| file.extend(&tensor.bytes));
    fs::write(folder.join("model.safetensors"), file).unwrap();
}

/// Writes a file whose tensors all have the type `type_number`.
fn write_gguf(folder: &Path, type_number: u32, tensors: &[Written]) {
    let mut file = [&MAGIC[..], &3_u32.to_le_bytes()].concat();
    file.extend((tensors.len() as u64).to_le_bytes());
    file.extend(0_u64.to_le_bytes());
    let mut offset = 0;
    for Written { name, rows, bytes, .. } in tensors {
        file.extend((name.len() as u64).to_le_bytes());
        file.extend(name.as_bytes());
        file.extend(2_u32.to_le_bytes());
        for size in [INPUT, *rows] {
            file.extend((size as u64).to_le_bytes());
        }
        file.extend(type_number.to_le_bytes());
        file.extend((offset as u64).to_le_bytes());
        offset += bytes.len().next_multiple_of(ALIGNMENT);
    }
    for tensor in tensors {
        file.resize(file.len().next_multiple_of(ALIGNMENT), 0);
        file.extend(&tensor.bytes);
    }
    fs::write(folder.join("model.gguf"), file).unwrap();
}

fn open(folder: &Path, shard: Shard) -> Weights {
    let rank = Rank { shard, ..Rank::alone(ComputeDevice::Kernels) };
    Weights::open(&Source::Folder(folder.into()), &NAMING, &rank, WeightForm::Stored).unwrap()
}

fn names() -> [Named; 2] {
    [("a".into(), vec![3, INPUT]), ("b".into(), vec![2, INPUT])]
}

/// The bits of all weights, converted to f32.
fn bits(matrix: Matrix<'_>) -> Vec<u32> {
    match matrix {
        Matrix::F32(floats) => floats.iter().map(|float| float.to_bits()).collect(),
        Matrix::Bf16(words) => words.iter().map(|word| bf16::from_bits(*word).to_f32().to_bits()).collect(),
        Matrix::F16(words) => words.iter().map(|word| f16::from_bits(*word).to_f32().to_bits()).collect(),
        Matrix::Q8_0(_) | Matrix::Q4_0(_) | Matrix::Iq4Nl(_) => panic!("blocks are no floats"),
    }
}

fn is_in_place(joined: &Joined<'_>) -> bool {
    match joined {
        Joined::F32(floats) | Joined::Dequantised(floats) => matches!(floats, Cow::Borrowed(_)),
        Joined::Bf16(words) | Joined::F16(words) => matches!(words, Cow::Borrowed(_)),
        Joined::Q8_0(bytes) | Joined::Q4_0(bytes) | Joined::Iq4Nl(bytes) => {
            matches!(bytes, Cow::Borrowed(_))
        }
    }
}

/// The weights for a GPU: the bits of bf16 numbers, or blocks.
fn for_gpu(products: Products<'_>, names: &[Named], form: WeightForm) -> (Vec<u16>, Vec<u8>) {
    match Joined::as_stored(products, names).unwrap().for_gpu(form, INPUT) {
        ForGpu::Bf16(words) => (words.into_owned(), Vec::new()),
        ForGpu::Q8_0(bytes) | ForGpu::Q4_0(bytes) | ForGpu::Iq4Nl(bytes) => (Vec::new(), bytes.into_owned()),
    }
}

fn nearest_bf16(floats: &[f32]) -> Vec<u16> {
    floats.iter().map(|float| bf16::from_f32(*float).to_bits()).collect()
}

#[test]
fn floats_have_the_bits_of_the_file() {
    type Encode = fn(f32) -> Vec<u8>;
    type Round = fn(f32) -> f32;
    let kinds: [(&str, Encode, Round); 3] = [
        ("F32", |float| float.to_le_bytes().to_vec(), |float| float),
        (
            "BF16",
            |float| bf16::from_f32(float).to_le_bytes().to_vec(),
            |float| bf16::from_f32(float).to_f32(),
        ),
        ("F16", |float| f16::from_f32(float).to_le_bytes().to_vec(), |float| f16::from_f32(float).to_f32()),
    ];
    let folder = tempfile::tempdir().unwrap();
    let values = [numbers(3, 1), numbers(2, 5)];
    for (dtype, encode, round) in kinds {
        // Where the data is not aligned, numbers cannot be borrowed from the file.
        for shift in [0, 1] {
            let bytes = |values: &[f32]| values.iter().flat_map(|float| encode(*float)).collect();
            let tensors = [
                Written { name: "a", dtype, rows: 3, bytes: bytes(&values[0]) },
                Written { name: "b", dtype, rows: 2, bytes: bytes(&values[1]) },
            ];
            write_safetensors(folder.path(), shift, &tensors);
            let weights = open(folder.path(), Shard::WHOLE);
            let products = weights.products(WeightForm::Stored);
            for range in [0..1, 1..2, 0..2] {
                let named = &names()[range.clone()];
                let wanted: Vec<f32> = values[range].concat().into_iter().map(round).collect();
                let wanted_bits: Vec<u32> = wanted.iter().map(|float| float.to_bits()).collect();
                let joined = Joined::as_stored(products, named).unwrap();
                assert!(bits(joined.matrix()) == wanted_bits, "{dtype} {named:?}");
                assert_eq!(is_in_place(&joined), shift == 0 && named.len() == 1, "{dtype} {named:?}");
                let floats = Joined::as_floats(products, named).unwrap();
                assert!(bits(floats.matrix()) == wanted_bits, "{dtype} {named:?} as floats");
                let gpu = |form| for_gpu(products, named, form);
                assert!(gpu(WeightForm::Stored) == (nearest_bf16(&wanted), Vec::new()), "{dtype} {named:?}");
                assert!(gpu(WeightForm::Q8) == (Vec::new(), kernels::to_q8_0(&wanted)), "{dtype}");
                assert!(gpu(WeightForm::Q4) == (Vec::new(), kernels::to_iq4_nl(&wanted)), "{dtype}");
            }
            let rounded: Vec<f32> = values[0].iter().map(|float| round(*float)).collect();
            let table = weights.stored("a", &[3, INPUT]).unwrap().into_bf16().unwrap();
            assert!(*table == *nearest_bf16(&rounded), "{dtype}");
        }
    }
}

#[test]
fn blocks_have_the_bytes_of_the_file() {
    type Encode = fn(&[f32]) -> Vec<u8>;
    type Given<'a> = fn(&'a [u8]) -> Matrix<'a>;
    let values = [numbers(3, 1), numbers(2, 5)];
    for type_number in [tensor_type::Q8_0, tensor_type::Q4_0, tensor_type::IQ4_NL] {
        // All codes are valid in both four-bit types, so one encoder serves both.
        let (encode, given): (Encode, Given<'_>) = match type_number {
            tensor_type::Q8_0 => (kernels::to_q8_0, Matrix::Q8_0),
            tensor_type::Q4_0 => (kernels::to_iq4_nl, Matrix::Q4_0),
            _ => (kernels::to_iq4_nl, Matrix::Iq4Nl),
        };
        let folder = tempfile::tempdir().unwrap();
        let written = [(("a", 3), &values[0]), (("b", 2), &values[1])];
        let tensors =
            written.map(|((name, rows), values)| Written { name, dtype: "", rows, bytes: encode(values) });
        write_gguf(folder.path(), type_number, &tensors);
        let weights = open(folder.path(), Shard::WHOLE);
        let products = weights.products(WeightForm::Stored);
        let all = [&tensors[0].bytes[..], &tensors[1].bytes].concat();
        for (named, wanted) in [(&names()[..1], &tensors[0].bytes), (&names()[..], &all)] {
            let joined = Joined::as_stored(products, named).unwrap();
            assert_eq!(is_in_place(&joined), named.len() == 1);
            for form in [WeightForm::Stored, WeightForm::Q8, WeightForm::Q4] {
                assert!(for_gpu(products, named, form) == (Vec::new(), wanted.clone()), "{type_number}");
            }
            // The floats equal those that the kernels read from the same bytes.
            let rows: usize = named.iter().map(|(_, shape)| shape[0]).sum();
            let linear = Linear::with_form(given(wanted), Form::Given, (rows, INPUT), None);
            let wanted: Vec<f32> = (0..rows).flat_map(|row| linear.weight_row(row)).collect();
            let floats = Joined::as_floats(products, named).unwrap();
            assert!(matches!(floats.matrix(), Matrix::F32(floats) if *floats == *wanted), "{type_number}");
        }
        let floats = weights.stored("a", &[3, INPUT]).unwrap().floats().unwrap();
        let table = weights.stored("a", &[3, INPUT]).unwrap().into_bf16().unwrap();
        assert!(*table == *nearest_bf16(&floats), "{type_number}");
    }
}

#[test]
fn a_rank_gets_its_rows_in_place_and_its_columns() {
    let folder = tempfile::tempdir().unwrap();
    let words = nearest_bf16(&numbers(3, 1));
    let bytes = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    write_safetensors(folder.path(), 0, &[Written { name: "a", dtype: "BF16", rows: 3, bytes }]);
    let weights = open(folder.path(), Shard::new(1, 2));
    let (products, named) = (weights.products(WeightForm::Stored), &names()[..1]);
    let rows = Joined::as_stored(products.split_by_outputs(), named).unwrap();
    assert!(matches!(&rows, Joined::Bf16(Cow::Borrowed(found)) if **found == words[INPUT..]));
    let half: Vec<u16> = words.chunks(INPUT).flat_map(|row| row[INPUT / 2..].to_vec()).collect();
    let columns = Joined::as_stored(products.split_by_inputs(), named).unwrap();
    assert!(matches!(&columns, Joined::Bf16(found) if **found == *half));
}

#[test]
fn the_tensor_whose_value_is_not_finite_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = |words: &[u16]| words.iter().flat_map(|word| word.to_le_bytes()).collect();
    let (first, mut second) = (nearest_bf16(&numbers(3, 1)), nearest_bf16(&numbers(2, 5)));
    for place in [0, INPUT + 1, 2 * INPUT - 1] {
        let before = std::mem::replace(&mut second[place], bf16::NEG_INFINITY.to_bits());
        let tensors = [
            Written { name: "a", dtype: "BF16", rows: 3, bytes: bytes(&first) },
            Written { name: "b", dtype: "BF16", rows: 2, bytes: bytes(&second) },
        ];
        write_safetensors(folder.path(), 0, &tensors);
        let weights = open(folder.path(), Shard::WHOLE);
        let products = weights.products(WeightForm::Stored);
        let refused = Joined::as_stored(products, &names()).map(|_| ()).unwrap_err();
        assert!(
            matches!(&refused, LoadError::NonFinite { tensor, .. } if tensor == "b"),
            "{place}: {refused}"
        );
        assert!(Joined::as_stored(products, &names()[..1]).is_ok());
        second[place] = before;
    }
}

#[test]
fn tensors_of_different_types_become_floats() {
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (numbers(3, 1), nearest_bf16(&numbers(2, 5)));
    let bytes = first.iter().flat_map(|float| float.to_le_bytes()).collect();
    let narrow = second.iter().flat_map(|word| word.to_le_bytes()).collect();
    let tensors = [
        Written { name: "a", dtype: "F32", rows: 3, bytes },
        Written { name: "b", dtype: "BF16", rows: 2, bytes: narrow },
    ];
    write_safetensors(folder.path(), 0, &tensors);
    let weights = open(folder.path(), Shard::WHOLE);
    let joined = Joined::as_stored(weights.products(WeightForm::Stored), &names()).unwrap();
    let wide = second.iter().map(|word| bf16::from_bits(*word).to_f32());
    let wanted: Vec<f32> = first.into_iter().chain(wide).collect();
    assert!(matches!(&joined, Joined::F32(floats) if **floats == *wanted));
}

#[test]
fn rows_for_a_gpu_are_padded_with_zeros() {
    let padded = ForGpu::Bf16(Cow::Owned(vec![1, 2, 3, 4, 5, 6])).with_padded_rows(3, 4);
    assert!(matches!(padded, ForGpu::Bf16(words) if *words == [1, 2, 3, 0, 4, 5, 6, 0]));
}
