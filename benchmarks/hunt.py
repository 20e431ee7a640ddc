"""What a guided search finds beside one that draws its inputs, after as many evaluations.

    python benchmarks/hunt.py MODEL [SITE] [--evaluations N] [--seeds K] [--samples N]

Both begin with the same contexts of the corpus and every first token; then one goes up the gradient and the other draws
tokens, as many to an input as the pool of the first has. The figure is M of the site after it.
"""

import argparse
from statistics import median

from pytest_maxact.corpus.drawn import Draw
from pytest_maxact.corpus.stress.recipes import vocabulary_of
from pytest_maxact.measure.embedded import norms_of
from pytest_maxact.measure.hunt.hunt import starts_of
from pytest_maxact.measure.hunt.search import Budget, Ground, search
from pytest_maxact.measure.hunt.sight import Sight
from pytest_maxact.measure.hunt.state import State
from pytest_maxact.measure.opened import Opened, opened
from pytest_maxact.settings.settings import Settings

LENGTHS = (2, 4, 8, 16, 32)
AT_ONCE = 64


def guided(model: Opened, site: str, evaluations: int, seed: int) -> float:
    ground = _ground(model, site, seed)
    state = State(identity={})
    with Sight(model.loaded, model.anatomy, [site], model.batch_tokens).attached() as sight:
        search(sight, ground, Budget(evaluations=evaluations, used_time=lambda: 0.0), state, lambda state: None)
    return state.pools[site][0].value


def drawn(model: Opened, site: str, evaluations: int, seed: int) -> float:
    ground, draw, best = _ground(model, site, seed), Draw(seed, "drawn"), 0.0
    with Sight(model.loaded, model.anatomy, [site], model.batch_tokens).attached() as sight:
        begins = [*ground.starts, *((token,) for token in Draw(seed, "first tokens").order(ground.vocabulary))]
        begins = begins[: evaluations // 2]
        while sight.evaluations < evaluations:
            some, begins = begins[:AT_ONCE], begins[AT_ONCE:]
            some = some or [tuple(draw.some(ground.vocabulary, draw.one(LENGTHS))) for _ in range(AT_ONCE)]
            best = max(best, *(heights[site].value for heights in sight.heights(some)))
    return best


def _ground(model: Opened, site: str, seed: int) -> Ground:
    vocabulary = vocabulary_of(model.prepared.tokenizer, norms_of(model.loaded, model.anatomy))
    starts = starts_of(model.prepared.whole, model.readings, [site])
    return Ground(anatomy=model.anatomy, vocabulary=vocabulary.ids, starts=starts, seed=seed)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("model")
    parser.add_argument("site", nargs="?")
    parser.add_argument("--evaluations", type=int, default=4000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--samples", type=int, default=40)
    options = parser.parse_args()
    settings = Settings(model=options.model, max_samples=options.samples, max_seq_len=256)
    with opened(settings) as model:
        site = options.site or model.carrier.site.name
        corpus = model.readings[site].max_abs
        found = {
            way.__name__: [way(model, site, options.evaluations, seed) for seed in range(options.seeds)]
            for way in (guided, drawn)
        }
    print(f"{site}: the corpus {corpus:.6g} on {sum(map(len, model.prepared.whole))} tokens")
    for name, values in found.items():
        print(f"  {name:8} {', '.join(f'{value:.6g}' for value in values)}; {median(values) / corpus:.2f} x the corpus")
    print(f"  guided over drawn {median(found['guided']) / median(found['drawn']):.2f}")


if __name__ == "__main__":
    main()
