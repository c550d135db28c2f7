//! Calls an Extism plugin as the engine's benchmark says. It reads lines `<what> <number>` and answers each with one
//! line: nanoseconds of one of so many. A program of its own, since Extism comes with a wasmtime of its own.

use std::io::{BufRead, Write};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use extism::{CompiledPlugin, Plugin, PluginBuilder, UserData, Val, ValType};

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, file, text] = &arguments[..] else { bail!("usage: bench-extism PLUGIN.wasm TEXT") };
    let (wasm, text) = (std::fs::read(file)?, text.as_str());
    let compiled = compile(&wasm)?;
    let mut warm = Plugin::new_from_compiled(&compiled)?;
    let points: Vec<u8> = (0..1000).flat_map(|at| f64::from(at % 17).to_le_bytes()).collect();
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let (what, number) = line.split_once(' ').context("a line is a word and a number")?;
        let number: u32 = number.parse()?;
        let each = match what {
            "answer" => {
                println!("{}", warm.call::<_, String>("count", text)?);
                continue;
            }
            "fresh" => {
                timed(number, || Plugin::new_from_compiled(&compiled)?.call::<_, String>("count", text))?
            }
            "warm" => timed(number, || warm.call::<_, String>("count", text))?,
            "score" => timed(number, || {
                Plugin::new_from_compiled(&compiled)?.call::<_, Vec<u8>>("score", points.as_slice())
            })?,
            "score-warm" => timed(number, || warm.call::<_, Vec<u8>>("score", points.as_slice()))?,
            // One call of the plugin that calls the host so often.
            "ask" => timed(1, || warm.call::<_, String>("ask", number.to_string()))? / number.max(1),
            "load" => timed(number, || compile(&wasm))?,
            _ => bail!("there is no {what:?}"),
        };
        println!("{}", each.as_nanos());
        std::io::stdout().flush()?;
    }
    Ok(())
}

fn compile(wasm: &[u8]) -> Result<CompiledPlugin> {
    let now = |_: &mut extism::CurrentPlugin, _: &[Val], outputs: &mut [Val], _: UserData<()>| {
        outputs[0] = Val::I64(7);
        Ok(())
    };
    PluginBuilder::new(wasm)
        .with_cache_disabled()
        .with_function("now", [], [ValType::I64], UserData::new(()), now)
        .compile()
}

/// How long one of `number` calls takes.
fn timed<T>(number: u32, mut call: impl FnMut() -> Result<T>) -> Result<Duration> {
    let began = Instant::now();
    for _ in 0..number {
        std::hint::black_box(call()?);
    }
    Ok(began.elapsed() / number.max(1))
}
