//! Text to tokens and back.

use chat::gguf::Gguf;
use chat::tokenizer::Tokenizer;

use super::tool::{open, real, tiny};

fn text(tokenizer: &Tokenizer, tokens: &[u32]) -> String {
    let bytes: Vec<u8> = tokens
        .iter()
        .flat_map(|&token| tokenizer.bytes(token))
        .copied()
        .collect();
    String::from_utf8(bytes).expect("what was encoded")
}

fn words(tokenizer: &Tokenizer, of: &str) -> Vec<String> {
    let tokens = tokenizer.encode(of).expect("every byte has a token");
    tokens
        .iter()
        .map(|&token| text(tokenizer, &[token]))
        .collect()
}

#[test]
fn words_merge_by_rank_and_not_across_words() {
    let (tokenizer, _) = open(&tiny()).expect("the tiny model");
    assert_eq!(words(&tokenizer, "the then"), ["the", " the", "n"]);
    // " a" before "an": its rank is lower only inside of a word without "an".
    assert_eq!(words(&tokenizer, " and"), [" ", "and"]);
    assert_eq!(words(&tokenizer, " a"), [" a"]);
    // The last of several spaces belongs to the word.
    assert_eq!(words(&tokenizer, "t   the"), ["t", "  ", " the"]);
    assert_eq!(words(&tokenizer, "in   "), ["in", "  ", " "]);
    assert_eq!(words(&tokenizer, "th1e"), ["th", "1", "e"]);
    assert_eq!(words(&tokenizer, ""), [""; 0]);
    let name = "<|im_end|>";
    assert_eq!(words(&tokenizer, name).concat(), name);
    assert!(!tokenizer.encode(name).expect("plain text").contains(&2));
}

#[test]
fn every_text_comes_back() {
    let (tokenizer, _) = open(&tiny()).expect("the tiny model");
    for of in [
        "né  🦀\t\r\n the  and",
        "नमस्ते ½ Ⅷ",
        " ",
        "\n\n x",
        "they'd've",
    ] {
        assert_eq!(words_text(&tokenizer, of), of);
    }
}

fn words_text(tokenizer: &Tokenizer, of: &str) -> String {
    text(
        tokenizer,
        &tokenizer.encode(of).expect("every byte has a token"),
    )
}

/// `tokens.json` is what the Hugging Face library `tokenizers` 0.23 answers with SmolLM2's vocabulary and the
/// pre-tokenizers `Digits(individual_digits)` and `ByteLevel(add_prefix_space=False)`.
#[test]
fn smollm2s_tokens_are_those_of_its_own_tokenizer() {
    let Some(path) = real("SmolLM2's own tokens") else {
        return;
    };
    let tokenizer = Tokenizer::of(&Gguf::read(&path).expect("a model")).expect("its tokenizer");
    let golden: Vec<(String, Vec<u32>)> =
        serde_json::from_str(include_str!("tokens.json")).expect("golden tokens");
    for (of, wanted) in golden {
        assert_eq!(tokenizer.encode(&of).expect("tokens"), wanted, "{of:?}");
    }
}
