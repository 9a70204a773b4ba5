//! What a sweep tries, and how each of it did.

use serde::{Deserialize, Serialize};

use super::{Examples, Recipe, Result, Split};

/// Sweeps recipes of one shape: examples, recipes, folds, and who hears of every epoch.
pub type Sweeper = fn(&Examples<'_>, &[Recipe], &[Split], &mut dyn FnMut(usize)) -> Result<Vec<Swept>>;

/// A recipe and how it did in cross-validation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Swept {
    /// The recipe.
    pub recipe: Recipe,
    /// The epoch (counted from 1) of the lowest mean loss.
    pub best_epoch: usize,
    /// The mean over the folds of the log loss of their rows after that epoch.
    pub log_loss: f64,
    /// The same, fold by fold.
    pub folds: Vec<f64>,
}

impl Swept {
    /// A recipe's losses after an epoch.
    pub fn new(recipe: &Recipe, best_epoch: usize, folds: Vec<f64>) -> Swept {
        let log_loss = folds.iter().sum::<f64>() / folds.len().max(1) as f64;
        Swept { recipe: recipe.clone(), best_epoch, log_loss, folds }
    }
}

/// What is tried around a recipe, in groups of one shape: linear heads, and heads with a hidden layer of 64; or the
/// recipe's own shape alone where `hidden` was chosen.
pub(crate) fn sweep_grid(recipe: &Recipe, hidden_is_chosen: bool) -> Vec<Vec<Recipe>> {
    let base = Recipe { whiten: true, zero_output: true, ..recipe.clone() };
    let shapes = if hidden_is_chosen { vec![recipe.hidden.clone()] } else { vec![Vec::new(), vec![64]] };
    let group = |hidden: Vec<usize>| {
        // A linear head bears less dropout, of its inputs, and more weight decay than one with hidden layers.
        let (rates, decays, dropouts): (&[f64], &[f64], &[f64]) = match hidden.is_empty() {
            true => (&[2e-4, 5e-4, 2e-3], &[0.01, 0.1, 1.0], &[0.0, 0.3]),
            // On SST-2 and airline tweets the five best of thirty all had a decay of 1 here.
            false => (&[2e-4, 5e-4, 1e-3], &[1.0], &[0.2, 0.5]),
        };
        let mut recipes = Vec::new();
        for learning_rate in rates {
            for weight_decay in decays {
                for dropout in dropouts {
                    let (learning_rate, weight_decay, dropout) = (*learning_rate, *weight_decay, *dropout);
                    recipes.push(Recipe {
                        hidden: hidden.clone(),
                        learning_rate,
                        weight_decay,
                        dropout,
                        ..base.clone()
                    });
                }
            }
        }
        recipes
    };
    shapes.into_iter().map(group).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grid_holds_the_default_recipe_and_every_group_has_one_shape() {
        let grid = sweep_grid(&Recipe::default_(), false);
        assert!(grid.iter().flatten().any(|recipe| *recipe == Recipe::default_()));
        assert!(grid.iter().all(|group| group.iter().all(|recipe| recipe.hidden == group[0].hidden)));
        grid.iter().flatten().for_each(|recipe| recipe.check().unwrap());
        let chosen = Recipe { hidden: vec![32, 8], ..Recipe::default_() };
        assert!(sweep_grid(&chosen, true).iter().flatten().all(|recipe| recipe.hidden == [32, 8]));
    }
}
