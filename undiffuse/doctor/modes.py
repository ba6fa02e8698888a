"""Is any kind of data left out? By label, where samples are asked for labels; else by clusters of the data."""

import torch
from torch import Tensor

from undiffuse.condition.specification import Labels
from undiffuse.doctor.finding import DoesNotApply, Finding
from undiffuse.doctor.patient import Patient
from undiffuse.measure.neighbours import nearest

SHOWN = 0.5  # share of samples that show their label / of held-out rows that do
DRAWN = 0.25  # share of the samples in a cluster / that of the data
EXPECTED = 8  # samples of a label, or of a cluster, at least
CLUSTERS = 8
READABLE = 0.5  # share of held-out rows whose label their nearest training row has


def modes(patient: Patient) -> list[Finding]:
    """Whether samples show the label that they were asked for, or fall into all clusters of the data."""
    patient.require_numbers()
    labels = [name for name, of in patient.run.specifications.items() if isinstance(of, Labels)]
    return [one for name in labels for one in _of_label(patient, name)] if labels else _of_clusters(patient)


def _of_label(patient: Patient, name: str) -> list[Finding]:
    known, names = patient.rows.some.conditions, patient.run.specifications[name].names  # type: ignore[union-attr]
    asked, held_out = patient.asked.conditions, patient.held_out.conditions
    assert known is not None and asked is not None and held_out is not None
    values = known.entries[name].values

    def reads(x: Tensor, entry: Tensor) -> Tensor:
        """Whether the label of the nearest training row is the one."""
        return values[nearest(patient.shown(x), patient.rows.z)[1][:, 0]] == entry

    right = reads(patient.samples, asked.entries[name].values).double()
    real = reads(patient.held_out.x, held_out.entries[name].values).double()
    worst = {}
    for label in asked.entries[name].values.unique().tolist():
        mine, theirs = asked.entries[name].values == label, held_out.entries[name].values == label
        share = float(real[theirs].mean())
        if int(mine.sum()) >= EXPECTED and int(theirs.sum()) >= EXPECTED // 2 and share > READABLE:
            worst[names[label]] = float(right[mine].mean()) / share
    dropped = [label for label, ratio in worst.items() if ratio < SHOWN]
    if not worst:
        raise DoesNotApply("too few rows of each label, or labels that nearest rows do not show")
    if not dropped:
        return []
    said = f"of {name} {', '.join(dropped[:5])}, most samples look like something else"
    measured = "share of samples that show their label / of real rows"
    number = min(worst.values())
    return [Finding("labels that are not drawn", measured, number, f"at least {SHOWN:g}", said, patient.longer())]


def _of_clusters(patient: Patient) -> list[Finding]:
    from sklearn.cluster import KMeans

    z = patient.rows.z
    count = min(CLUSTERS, len(z) // 2)
    fit = KMeans(count, n_init=1, random_state=patient.seed % 2**32).fit(z.numpy())
    data = torch.bincount(torch.from_numpy(fit.labels_).long(), minlength=count).double() / len(z)
    of_samples = torch.from_numpy(fit.predict(patient.shown(patient.samples).numpy())).long()
    drawn = torch.bincount(of_samples, minlength=count).double() / len(of_samples)
    ratio = torch.where(data * patient.count >= EXPECTED, drawn / data.clamp(min=1e-12), torch.inf)
    if float(ratio.min()) >= DRAWN:
        return []
    said = f"{int((ratio < DRAWN).sum())} of {count} clusters of the data are hardly ever drawn"
    measured = "share of the samples in a cluster / of the data"
    expected = f"at least {DRAWN:g}"
    return [Finding("modes that are not drawn", measured, float(ratio.min()), expected, said, patient.longer())]
