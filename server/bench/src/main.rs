//! The load generator, and the runs beside Apache's broker.
#![allow(clippy::disallowed_methods)] // starting brokers and watching a clock is what this is for

mod admin;
mod again;
mod brokers;
mod cell;
mod due;
mod e2e;
mod http;
mod java;
mod load;
mod meter;
mod pop;
mod pull;
mod send;
mod sql;
mod table;
mod template;
mod toy;
mod tx;
mod wire;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use cell::{CELLS, Cell, Row, Target, Times};
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(about = "Measures brokers that speak RocketMQ's protocol")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// One cell against a broker that runs already.
    Cell {
        /// Which; `all` for all of them.
        #[arg(long)]
        cell: String,
        /// The broker's address.
        #[arg(long)]
        addr: SocketAddr,
        /// The broker's process, to measure its CPU.
        #[arg(long)]
        pid: Option<u32>,
        /// Seconds that are measured.
        #[arg(long, default_value_t = 8.0)]
        seconds: f64,
        /// Seconds before.
        #[arg(long, default_value_t = 2.0)]
        warm: f64,
        /// One write for each request, as Java's clients do.
        #[arg(long)]
        one_write: bool,
        /// The broker takes a connection's requests in their order: check that.
        #[arg(long)]
        ordered: bool,
        /// How many messages are read back and checked after sends.
        #[arg(long, default_value_t = cell::READ_BACK)]
        read_back: u64,
        /// Where the broker speaks HTTP, for cells that do.
        #[arg(long)]
        http_addr: Option<SocketAddr>,
        /// So many streams, instead of as many as a cell is named for.
        #[arg(long)]
        streams: Option<usize>,
    },
    /// The whole table, beside Apache 5.3.3 from Maven Central. Prints Markdown.
    Run {
        /// Our binary.
        #[arg(long, default_value = "target/release/posthouse")]
        posthouse: PathBuf,
        /// `posthouse` or `apache` alone.
        #[arg(long)]
        broker: Option<String>,
        /// Short rounds: to see that nothing is broken.
        #[arg(long)]
        quick: bool,
        /// Only cells whose name contains one of these; `many-topics` and `recovery` are rows of their own.
        #[arg(long, num_args = 1.., value_name = "CELL", alias = "cells")]
        only: Vec<String>,
        /// Where jars and data go.
        #[arg(long)]
        folder: Option<PathBuf>,
    },
    /// Serves a broker that means nothing: what the transport alone costs.
    Toy {
        /// Where.
        #[arg(long, default_value = "127.0.0.1:10911")]
        addr: SocketAddr,
        /// I/O threads.
        #[arg(long, default_value_t = 1)]
        threads: usize,
    },
}

fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Cell {
            cell,
            addr,
            pid,
            seconds,
            warm,
            one_write,
            ordered,
            read_back,
            http_addr,
            streams,
        } => {
            let target = Target {
                address: addr,
                pid,
                ordered,
                http: http_addr,
            };
            let times = Times {
                warm: Duration::from_secs_f64(warm),
                time: Duration::from_secs_f64(seconds),
                one_write,
                read_back,
                streams,
            };
            one(&cell, target, times)
        }
        Command::Run {
            posthouse,
            broker,
            quick,
            only,
            folder,
        } => {
            let plan = table::Plan {
                posthouse,
                folder: absolute(folder.unwrap_or_else(table::default_folder)),
                broker,
                quick,
                cells: only,
            };
            match table::run(&plan) {
                Ok(true) => ExitCode::SUCCESS,
                Ok(false) => ExitCode::FAILURE,
                Err(error) => {
                    eprintln!("{error}");
                    ExitCode::FAILURE
                }
            }
        }
        Command::Toy { addr, threads } => match toy::serve(addr, threads) {
            Ok(running) => {
                println!("{running:?}");
                loop {
                    std::thread::park();
                }
            }
            Err(error) => {
                eprintln!("{error}");
                ExitCode::FAILURE
            }
        },
    }
}

/// The path as Maven and JVMs understand it, which run elsewhere.
fn absolute(folder: PathBuf) -> PathBuf {
    std::path::absolute(&folder).unwrap_or(folder)
}

fn one(name: &str, target: Target, times: Times) -> ExitCode {
    let cells: Vec<Cell> = match name {
        "all" => CELLS
            .into_iter()
            .filter(|cell| !cell.sync && (target.http.is_some() || !cell.is_http()))
            .collect(),
        name => Cell::find(name).into_iter().collect(),
    };
    if cells.is_empty() {
        let names: Vec<_> = CELLS.iter().map(|cell| cell.name).collect();
        eprintln!("no cell is called {name}; there are {}", names.join(" "));
        return ExitCode::FAILURE;
    }
    let mut wrong = false;
    for cell in cells {
        match cell.run(target, times) {
            Ok(row) => print_row(&cell, &row),
            Err(error) => {
                wrong = true;
                println!("{:24} wrong: {error}", cell.name);
            }
        }
    }
    if wrong {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}

fn print_row(cell: &Cell, row: &Row) {
    let measured = &row.measured;
    let us = |quantile: f64| measured.latency.value_at_quantile(quantile) as f64 / 1e3;
    println!(
        "{:24} {:>10.0} msg/s  broker {:>7.2} us  generator {:>5.2} us  p50 {:>7.0} us  p99 {:>7.0} us  \
         p99.9 {:>7.0} us  max {:>7.0} us  refused {}  behind {:.1} ms  others {:.2} cores  stolen {:.1} %  {}",
        cell.name,
        measured.rate(),
        measured.broker_us(),
        measured.own_us(),
        us(0.5),
        us(0.99),
        us(0.999),
        us(1.0),
        row.refused,
        row.behind.as_secs_f64() * 1e3,
        measured.used.others,
        measured.used.stolen,
        row.told.as_deref().unwrap_or_default(),
    );
}
