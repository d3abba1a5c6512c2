//! The cache of rotary tables on the device: a growing context extends its table, kinds that depend on the length
//! get a new one.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::error::Result;
use crate::plan::{TableNeed, TableRows};
use crate::problem::position::{Growth, Side, Table};

use super::buffers::{filled, scoped};

/// Tables kept: one for each scheme that an application mixes, and then some.
const KEPT: usize = 8;
/// Bytes of them on the device, at most; the one used last stays whatever its size.
const MOST_BYTES: u64 = 128 << 20;

#[derive(Debug)]
struct Entry {
    need: TableNeed,
    table: Table,
    buffer: wgpu::Buffer,
}

/// Tables by scheme and first position, the latest used last.
#[derive(Debug, Default)]
pub(crate) struct Tables {
    entries: Mutex<Vec<Entry>>,
}

impl Tables {
    /// A buffer that holds what is needed, and perhaps more positions after it.
    pub async fn get(&self, device: &wgpu::Device, need: &TableNeed) -> Result<wgpu::Buffer> {
        let TableRows::Range(range) = &need.rows else {
            return upload(device, &listed(need)?).await;
        };
        let known = self.take(need);
        let (table, buffer) = match known {
            Some(mut entry) => match entry.table.grow(range.clone(), need.length)? {
                Growth::Kept => (entry.table, Some(entry.buffer)),
                Growth::Extended | Growth::Rebuilt => (entry.table, None),
            },
            None => (Table::new(&need.rotary, range.clone(), need.length)?, None),
        };
        let buffer = match buffer {
            Some(buffer) => buffer,
            None => upload(device, &interleaved(&table)).await?,
        };
        let mut entries = self.lock();
        entries.push(Entry {
            need: need.clone(),
            table,
            buffer: buffer.clone(),
        });
        while entries.len() > KEPT || (entries.len() > 1 && bytes(&entries) > MOST_BYTES) {
            entries.remove(0);
        }
        Ok(buffer)
    }

    /// Makes one that is kept, so that a call finds it; those of scattered positions are each call's own.
    pub async fn warm_up(&self, device: &wgpu::Device, need: &TableNeed) -> Result<()> {
        match need.rows {
            TableRows::Range(_) => self.get(device, need).await.map(drop),
            TableRows::List(_) => Ok(()),
        }
    }

    /// Forgets all; calls keep what they hold.
    pub fn trim(&self) {
        self.lock().clear();
    }

    /// Bytes on the device that are kept.
    pub fn bytes(&self) -> u64 {
        bytes(&self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Entry>> {
        // The list is whole at every moment, so a panic elsewhere does not spoil it.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, need: &TableNeed) -> Option<Entry> {
        let mut entries = self.lock();
        let same =
            |entry: &Entry| entry.need.rotary == need.rotary && start(&entry.need) == start(need);
        let n = entries.iter().position(same)?;
        Some(entries.remove(n))
    }
}

fn bytes(entries: &[Entry]) -> u64 {
    entries.iter().map(|entry| entry.buffer.size()).sum()
}

fn start(need: &TableNeed) -> Option<i32> {
    match &need.rows {
        TableRows::Range(range) => Some(*range.start()),
        TableRows::List(_) => None,
    }
}

/// Each row's pairs of the queries, then (where they differ) of the keys.
fn interleaved(table: &Table) -> Vec<[f32; 2]> {
    if !table.is_split() {
        return table.entries(Side::Query).to_vec();
    }
    let pairs = table.pairs() as usize;
    let rows = |side| table.entries(side).chunks_exact(pairs);
    rows(Side::Query)
        .zip(rows(Side::Key))
        .flat_map(|(query, key)| query.iter().chain(key).copied())
        .collect()
}

/// The rows of positions that are few and far between.
fn listed(need: &TableNeed) -> Result<Vec<[f32; 2]>> {
    let mut rows = Vec::new();
    if let TableRows::List(positions) = &need.rows {
        for &p in positions {
            rows.extend(interleaved(&Table::new(&need.rotary, p..=p, need.length)?));
        }
    }
    Ok(rows)
}

async fn upload(device: &wgpu::Device, rows: &[[f32; 2]]) -> Result<wgpu::Buffer> {
    let rows: &[u8] = bytemuck::cast_slice(rows);
    let usage = wgpu::BufferUsages::STORAGE;
    scoped(device, "the rotary table", || {
        filled(device, "rotary table", usage, rows)
    })
    .await
    .map_err(|error| {
        error.allocating(
            rows.len() as u64,
            "free what is kept (Attention::trim), or state a shorter Position::range",
        )
    })
}
