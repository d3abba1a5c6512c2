//! Pages, and how many sequences hold each.

/// A pool of pages.
#[derive(Clone, Debug)]
pub(super) struct Pool {
    holders: Vec<u32>,
    /// The last is taken next.
    free: Vec<u32>,
}

impl Pool {
    pub fn new(pages: u32) -> Self {
        Self {
            holders: vec![0; pages as usize],
            free: (0..pages).rev().collect(),
        }
    }

    pub fn free(&self) -> u32 {
        self.free.len() as u32
    }

    /// A page of its taker's own.
    pub fn take(&mut self) -> Option<u32> {
        let page = self.free.pop()?;
        self.holders[page as usize] = 1;
        Some(page)
    }

    pub fn share(&mut self, page: u32) {
        self.holders[page as usize] += 1;
    }

    pub fn holders(&self, page: u32) -> u32 {
        self.holders[page as usize]
    }

    /// One holder less; a page without any is free.
    pub fn release(&mut self, page: u32) {
        let holders = &mut self.holders[page as usize];
        *holders -= 1;
        if *holders == 0 {
            self.free.push(page);
        }
    }
}
