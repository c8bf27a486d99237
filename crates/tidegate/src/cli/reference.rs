//! What is generated from the code: the state machine's drawings, completions, man pages, the reference pages.

use std::{fs, path::PathBuf};

use clap::{Args, CommandFactory, ValueEnum};

use super::Cli;
use crate::{
    config,
    fault::{Exit, Fault},
    render,
};

#[derive(Args)]
pub(super) struct StatesArgs {
    /// How to draw it.
    #[arg(long, value_enum, default_value_t = Drawing::Text)]
    format: Drawing,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Drawing {
    /// The whole state × input table.
    Text,
    /// A Mermaid state diagram.
    Mermaid,
    /// A picture.
    Svg,
}

#[derive(Args)]
pub(super) struct CompletionsArgs {
    /// The shell.
    #[arg(value_enum)]
    shell: clap_complete::Shell,
}

#[derive(Args)]
pub(super) struct GenArgs {
    /// The directory; made when it is not there.
    directory: PathBuf,
}

pub(super) fn states(args: &StatesArgs) -> Exit {
    let drawn = match args.format {
        Drawing::Text => render::states_text(),
        Drawing::Mermaid => render::states_mermaid(),
        Drawing::Svg => render::states_svg(),
    };
    anstream::print!("{drawn}");
    Exit::Success
}

pub(super) fn completions(args: &CompletionsArgs) -> Exit {
    clap_complete::generate(args.shell, &mut Cli::command(), "tidegate", &mut std::io::stdout());
    Exit::Success
}

/// Writes every generated page; the same every time.
pub(super) fn write_all(args: &GenArgs) -> Result<Exit, Fault> {
    let schema = serde_json::to_string_pretty(&config::schema::schema_json()).map_err(Fault::internal)?;
    let mut pages = vec![
        ("cli.md".to_owned(), cli_page()),
        ("exit-codes.md".to_owned(), exit_page()),
        ("tidegate.yaml.md".to_owned(), config::reference::reference_markdown()),
        ("tidegate.schema.json".to_owned(), schema + "\n"),
        ("states.txt".to_owned(), render::states_text()),
        ("states.mmd".to_owned(), render::states_mermaid()),
        ("states.svg".to_owned(), render::states_svg()),
    ];
    for shell in [clap_complete::Shell::Bash, clap_complete::Shell::Zsh, clap_complete::Shell::Fish] {
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut Cli::command(), "tidegate", &mut script);
        pages.push((format!("completions/tidegate.{shell}"), String::from_utf8_lossy(&script).into_owned()));
    }
    for command in std::iter::once(Cli::command()).chain(visible()) {
        let name = if command.get_name() == "tidegate" {
            "tidegate".to_owned()
        } else {
            format!("tidegate-{}", command.get_name())
        };
        let mut page = Vec::new();
        clap_mangen::Man::new(command.name(name.clone())).render(&mut page).map_err(Fault::internal)?;
        pages.push((format!("man/{name}.1"), String::from_utf8_lossy(&page).into_owned()));
    }
    for (name, text) in pages {
        let path = args.directory.join(&name);
        let trouble = |error| Fault::trouble(format!("cannot write {}: {error}", path.display()));
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(trouble)?;
        }
        fs::write(&path, text).map_err(trouble)?;
    }
    Ok(Exit::Success)
}

fn visible() -> Vec<clap::Command> {
    Cli::command().get_subcommands().filter(|command| !command.is_hide_set()).cloned().collect()
}

fn cli_page() -> String {
    let mut page = "# The command line\n\nGenerated from the code by `cargo xtask gen`.\n".to_owned();
    for mut command in visible() {
        let name = command.get_name().to_owned();
        let help = command.render_long_help().to_string();
        let help: Vec<&str> = help.lines().map(str::trim_end).collect();
        page = format!("{page}\n## tidegate {name}\n\n```text\n{}\n```\n", help.join("\n").trim_end());
    }
    page
}

fn exit_page() -> String {
    let rows = crate::fault::Exit::TABLE.iter().map(|(_, code, meaning)| format!("| {code} | {meaning} |\n"));
    format!(
        "# Exit codes\n\nGenerated from the code by `cargo xtask gen`.\n\n| code | meaning |\n|---|---|\n{}",
        rows.collect::<String>()
    )
}
