//! Is there a driver that wgpu can use, and if not, a software one.

use std::{
    env,
    path::{Path, PathBuf},
};

use anyhow::{Result, bail};

use crate::apt;

const LOADER: &str = "libvulkan.so.1";
const PACKAGES: [&str; 2] = ["mesa-vulkan-drivers", "libvulkan1"];

/// Makes sure of an adapter. macOS and Windows bring theirs (Metal, DX12) with the system.
pub fn ensure() -> Result<()> {
    if !cfg!(target_os = "linux") {
        println!("adapter: the system's own graphics interface");
        return Ok(());
    }
    if !is_there() {
        install()?;
    }
    let drivers = drivers();
    let names = drivers
        .iter()
        .filter_map(|path| path.file_stem())
        .map(|name| name.to_string_lossy());
    println!(
        "adapter: Vulkan with {}",
        names.collect::<Vec<_>>().join(", ")
    );
    Ok(())
}

fn install() -> Result<()> {
    println!("adapter: no Vulkan driver found, so Mesa's software driver is needed");
    if !apt::is_here() {
        bail!(
            "install a Vulkan loader and driver with the system's package manager, for instance \
             vulkan-loader and mesa-vulkan-drivers (Fedora), vulkan-icd-loader and vulkan-swrast (Arch)"
        );
    }
    apt::install(&PACKAGES)?;
    if !is_there() {
        bail!(
            "{} are installed, yet no Vulkan driver is found; \
             if VK_DRIVER_FILES or VK_ICD_FILENAMES is set, try without it",
            PACKAGES.join(" and ")
        );
    }
    Ok(())
}

fn is_there() -> bool {
    loader_loads() && !drivers().is_empty()
}

fn loader_loads() -> bool {
    // SAFETY: the Vulkan loader's initialisers do nothing that a program may not do at any time.
    unsafe { libloading::Library::new(LOADER) }.is_ok()
}

/// The manifests of the installed drivers, whether or not their hardware is in this machine.
pub fn drivers() -> Vec<PathBuf> {
    let named = ["VK_DRIVER_FILES", "VK_ICD_FILENAMES"]
        .into_iter()
        .find_map(env::var_os);
    let places = match named {
        Some(files) => env::split_paths(&files).collect(),
        None => folders(),
    };
    places.iter().flat_map(|place| manifests(place)).collect()
}

/// Where the loader looks (Vulkan-Loader, "Driver Discovery on Linux").
fn folders() -> Vec<PathBuf> {
    let home = env::home_dir().unwrap_or_default();
    let configs = listed("XDG_CONFIG_HOME", vec![home.join(".config")])
        .chain(listed("XDG_CONFIG_DIRS", vec!["/etc/xdg".into()]))
        .chain(["/usr/local/etc".into(), "/etc".into()]);
    let data = listed("XDG_DATA_HOME", vec![home.join(".local/share")]).chain(listed(
        "XDG_DATA_DIRS",
        vec!["/usr/local/share".into(), "/usr/share".into()],
    ));
    configs
        .chain(data)
        .map(|base| base.join("vulkan/icd.d"))
        .collect()
}

fn listed(variable: &str, otherwise: Vec<PathBuf>) -> impl Iterator<Item = PathBuf> {
    let paths = env::var_os(variable).map(|value| env::split_paths(&value).collect());
    paths.unwrap_or(otherwise).into_iter()
}

/// `place` itself when it is a manifest, those inside it when it is a folder.
fn manifests(place: &Path) -> Vec<PathBuf> {
    let mut found = match place.read_dir() {
        Ok(entries) => entries.flatten().map(|entry| entry.path()).collect(),
        Err(_) => vec![place.to_path_buf()],
    };
    found.retain(|path| path.extension().is_some_and(|end| end == "json") && path.is_file());
    found.sort();
    found
}
