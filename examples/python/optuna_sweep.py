"""Optuna chooses the trials of a sweep: python optuna_sweep.py SPANKEY SWEEP.toml DIRECTORY TRIALS"""
import json
import subprocess
import sys

import optuna

program, sweep, directory, trials = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])


def spankey(*words, **options):
    return subprocess.run([program, "sweep", *words, "--dir", directory], check=True, stdout=subprocess.PIPE, **options).stdout


study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=1))
for _ in range(trials):
    trial = study.ask()
    wish = {"optim.lr": trial.suggest_float("optim.lr", 1e-4, 1e-2, log=True), "key.gamma": trial.suggest_float("key.gamma", 0.25, 1.0)}
    asked = json.loads(spankey("ask", sweep, "--json", "-", input=json.dumps(wish).encode()))["trials"][0]
    spankey("resume")
    told = json.loads(spankey("tell", "--metric", "correct_key.accuracy - no_key.strip_accuracy"))["trials"]
    value = next(t["value"] for t in told if t["id"] == asked["id"])
    study.tell(trial, value, state=optuna.trial.TrialState.COMPLETE if value is not None else optuna.trial.TrialState.FAIL)
print(json.dumps({"value": study.best_value, **study.best_params}))
