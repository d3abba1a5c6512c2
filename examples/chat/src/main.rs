//! `chat --model FILE.gguf [--prompt TEXT] [options]`, see `--help`: a language model speaks.
//!
//! The text goes to the standard output, all else to the standard error. Exit status 0: done; 2: a bad command line; 1:
//! any other error, one sentence.

mod cli;
mod report;
mod speak;
mod values;

use std::io::BufRead;
use std::process::ExitCode;

use anyhow::{Result, ensure};
use chat::adapter;
use chat::attention::{Library, Storage};
use chat::cache::Cache;
use chat::check::check;
use chat::device::Gpu;
use chat::generate::{PART, Writer, part_of_stream};
use chat::gguf::Gguf;
use chat::model::Model;
use chat::plain::{Plain, Stream};
use chat::prompt::ChatTokens;
use chat::tokenizer::Tokenizer;
use clap::Parser;

use cli::Args;
use speak::Speaker;

/// Room for a conversation of which nobody has said how long it is.
const CONVERSATION: usize = 2048;

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", one_line(&format!("{error:#}")));
            ExitCode::FAILURE
        }
    }
}

/// Messages of drivers may have several lines.
fn one_line(message: &str) -> String {
    message.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn run(args: &Args) -> Result<()> {
    let file = Gguf::read(&args.model)?;
    if let Some(wanted) = &args.sha256 {
        file.check_hash(wanted)?;
    }
    let tokenizer = Tokenizer::of(&file)?;
    let template = match args.raw {
        true => None,
        false => Some(ChatTokens::of(&file, &tokenizer)?),
    };
    let model = report::with_bar("reading weights", |read| Model::of(&file, read))?;
    drop(file);
    let gpu = match args.reference {
        true => None,
        false => Some(Gpu::open(&adapter::choose(args.adapter.as_deref())?)?),
    };
    let first = first_prompt(args, &tokenizer, template.as_ref())?;
    let storage = storage(args, &model, first.len())?.with_element(args.kv.into());
    let part = args.stream.map_or(PART, |s| part_of_stream(s.window));
    let passes = [1, 1 + args.speculative, part];
    let cache: Box<dyn Cache + '_> = match &gpu {
        None => Box::new(Plain::new(&model.config).with_stream(args.stream)),
        Some(gpu) => Box::new(Library::new(gpu, &model.config, storage, &passes)?),
    };
    let writer = Writer::new(&model, cache, args.sampling())
        .with_drafts(args.speculative)
        .with_part(part)
        .with_seed(args.seed)
        .with_kept_logits(args.check);
    let mut speaker = Speaker::new(writer, &tokenizer, args.tokens, !args.json);
    if args.prompt.is_some() {
        speaker.answer(&first)?;
    } else if let Some(template) = &template {
        converse(&mut speaker, &first, &tokenizer, template)?;
    }
    let difference = match args.check {
        true => Some(check(&model, &speaker.writer)?),
        false => None,
    };
    let adapter = gpu.as_ref().map(|gpu| gpu.info.name.as_str());
    report::print(args.json, &speaker, adapter, difference)
}

/// The whole prompt, or what stands before the first message of a conversation.
fn first_prompt(
    args: &Args,
    tokenizer: &Tokenizer,
    template: Option<&ChatTokens>,
) -> Result<Vec<u32>> {
    let text = args.prompt.as_deref();
    let tokens = match template {
        None => tokenizer.encode(text.unwrap_or_default())?,
        Some(template) => {
            let mut tokens = template.system(tokenizer, &args.system)?;
            if let Some(text) = text {
                tokens.extend(template.user(tokenizer, text)?);
            }
            tokens
        }
    };
    ensure!(
        !tokens.is_empty(),
        "the prompt is empty; give --prompt a text"
    );
    Ok(tokens)
}

/// How the library keeps a text that begins with so many tokens.
fn storage(args: &Args, model: &Model, prompt: usize) -> Result<Storage> {
    if let Some(Stream { first, window }) = args.stream {
        let trained = model.config.context;
        ensure!(
            first + window <= trained,
            "{first} first tokens and a window of {window} are asked for and the model was trained on {trained}; give --stream less"
        );
        return Ok(Storage::stream(first as u32, window as u32));
    }
    let context = context(args, model, prompt)?;
    Ok(match args.paged {
        Some(page_len) => Storage::paged(context, page_len),
        None => Storage::contiguous(context),
    })
}

fn context(args: &Args, model: &Model, prompt: usize) -> Result<usize> {
    let needed = match args.prompt {
        Some(_) => prompt + args.tokens,
        None => CONVERSATION,
    };
    let trained = model.config.context;
    let context = args.context.unwrap_or(needed.min(trained));
    ensure!(
        context <= trained,
        "a context of {context} tokens is asked for and the model was trained on {trained}; give --context at most that"
    );
    ensure!(
        prompt <= context,
        "the prompt has {prompt} tokens and there is room for {context}; give a shorter one or --context more"
    );
    Ok(context)
}

/// A line in, an answer out, until the input or the context ends.
fn converse(
    speaker: &mut Speaker<'_>,
    first: &[u32],
    tokenizer: &Tokenizer,
    template: &ChatTokens,
) -> Result<()> {
    let mut prompt = first.to_vec();
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        if line.trim().is_empty() {
            continue;
        }
        prompt.extend(template.user(tokenizer, line.trim())?);
        speaker.answer(&prompt)?;
        prompt = template.between(tokenizer)?;
        if speaker.writer.text().last() == prompt.first() {
            prompt.remove(0);
        }
    }
    Ok(())
}
