//! What is generated from the code: the state machine's drawings, completions, man pages, the reference pages.

use std::{
    fs,
    path::{Path, PathBuf},
};

use clap::{Args, CommandFactory, ValueEnum};

use super::{Cli, Common, out::say, print_json};
use crate::{
    config,
    controller::manifests,
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
pub(super) struct DirectoryArgs {
    /// The directory; made when it is not there.
    directory: PathBuf,
}

pub(super) fn states(common: &Common, args: &StatesArgs) -> Result<Exit, Fault> {
    if common.json {
        print_json(&render::states_json())?;
        return Ok(Exit::Success);
    }
    let drawn = match args.format {
        Drawing::Text => render::states_text(),
        Drawing::Mermaid => render::states_mermaid(),
        Drawing::Svg => render::states_svg(),
    };
    say!("{drawn}");
    Ok(Exit::Success)
}

pub(super) fn completions(args: &CompletionsArgs) -> Result<Exit, Fault> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "tidegate", &mut script);
    say!("{}", String::from_utf8_lossy(&script));
    Ok(Exit::Success)
}

#[derive(Args)]
pub(super) struct GenArgs {
    #[command(flatten)]
    to: DirectoryArgs,
    /// What is below `deploy` instead.
    #[arg(long)]
    deploy: bool,
}

/// Writes every generated page of the reference, or the manifests; the same every time.
pub(super) fn write_all(args: &GenArgs) -> Result<Exit, Fault> {
    let directory = &args.to.directory;
    if args.deploy {
        for (name, text) in manifests::files() {
            write(directory, name, text.as_bytes())?;
        }
        return Ok(Exit::Success);
    }
    let schema = serde_json::to_string_pretty(&config::schema::schema_json()).map_err(Fault::internal)?;
    let pages = [
        ("cli.md", cli_page()),
        ("exit-codes.md", exit_page()),
        ("tidegate.yaml.md", config::reference::reference_markdown()),
        ("judge.md", super::judge::page()),
        ("tidegate.schema.json", schema + "\n"),
        ("states.txt", render::states_text()),
        ("states.mmd", render::states_mermaid()),
        ("states.svg", render::states_svg()),
    ];
    for (name, text) in pages {
        write(directory, name, text.as_bytes())?;
    }
    Ok(Exit::Success)
}

/// Writes one man page for the binary and one for every verb.
pub(super) fn man(args: &DirectoryArgs) -> Result<Exit, Fault> {
    let whole = Cli::command();
    let verbs = visible().into_iter().map(|verb| {
        let name = format!("tidegate-{}", verb.get_name());
        verb.name(name)
    });
    for command in std::iter::once(whole).chain(verbs) {
        let name = format!("{}.1", command.get_name());
        let mut page = Vec::new();
        clap_mangen::Man::new(command).render(&mut page).map_err(Fault::internal)?;
        write(&args.directory, &name, &page)?;
    }
    Ok(Exit::Success)
}

fn write(directory: &Path, name: &str, text: &[u8]) -> Result<(), Fault> {
    let path = directory.join(name);
    fs::create_dir_all(path.parent().unwrap_or(directory))
        .and_then(|()| fs::write(&path, text))
        .map_err(|error| Fault::trouble(format!("cannot write {}: {error}", path.display())))
}

fn visible() -> Vec<clap::Command> {
    Cli::command().get_subcommands().filter(|command| !command.is_hide_set()).cloned().collect()
}

fn cli_page() -> String {
    let mut page = format!(
        "# The command line\n\nGenerated from the code by `cargo xtask gen`.\n\nEvery verb also takes these:\n\n```text\n{}\n```\n",
        options_of_all()
    );
    for mut command in visible() {
        let name = command.get_name().to_owned();
        command.set_bin_name(format!("tidegate {name}"));
        let help = command.render_long_help().to_string();
        let help: Vec<&str> = help.lines().map(str::trim_end).collect();
        page = format!("{page}\n## tidegate {name}\n\n```text\n{}\n```\n", help.join("\n").trim_end());
    }
    page
}

/// The options that every verb has, as its help prints them.
fn options_of_all() -> String {
    let common =
        Cli::command().get_arguments().filter(|one| one.is_global_set()).cloned().collect::<Vec<_>>();
    let mut alone = clap::Command::new("tidegate").disable_help_flag(true).args(common);
    let help = alone.render_help().to_string();
    let options = help.split_once("Options:\n").map_or("", |(_, options)| options);
    options.lines().map(str::trim_end).collect::<Vec<_>>().join("\n").trim_end().to_owned()
}

fn exit_page() -> String {
    let rows = crate::fault::Exit::TABLE.iter().map(|(_, code, meaning)| format!("| {code} | {meaning} |\n"));
    format!(
        "# Exit codes\n\nGenerated from the code by `cargo xtask gen`.\n\n| code | meaning |\n|---|---|\n{}",
        rows.collect::<String>()
    )
}
