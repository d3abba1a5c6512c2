//! Gradients know nothing of what a hidden pair's key and value hold, whichever way hides it.

use wgpu_attention::problem::Mask;

use super::run::{Given, Output, run_as};
use crate::device::gpu;
use crate::hidden::{POISONS, ways};
use crate::run::strategies;
use crate::support::inputs::Inputs;

#[test]
fn what_is_hidden_changes_no_gradient() {
    for way in ways() {
        let given = Given {
            score: way.case.problem.score.bias.is_some(),
            ..Given::new(&way.case, 3)
        };
        // The reference has no user functions: any o and lse will do, and these are of all keys.
        let whole = way.case.clone().with(|p| {
            p.mods = None;
            p.mask = Mask::default();
            p.score.bias = None;
            p.score.bias_before_softcap = false;
        });
        let kept = Inputs {
            bias: None,
            ..way.inputs.clone()
        };
        for choice in strategies(gpu()) {
            let of = |inputs: &Inputs| -> Output {
                let (case, attention) = (&way.case, &gpu().attention);
                run_as(
                    gpu(),
                    attention,
                    (case, inputs),
                    (&whole, &kept),
                    &given,
                    &choice,
                )
                .2
            };
            let clean = of(&way.inputs);
            for poison in POISONS {
                let got = of(&way.poisoned(poison));
                assert!(
                    got == clean,
                    "{poison} behind {}, {choice:?}",
                    way.case.name
                );
            }
        }
    }
}
