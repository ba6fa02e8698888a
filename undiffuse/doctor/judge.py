"""Is the judge, which reads the labels of samples, of the data as it is now?"""

from undiffuse.doctor.finding import DoesNotApply, Finding
from undiffuse.doctor.patient import Patient
from undiffuse.evaluate.judged import FILE, is_current


def judge(patient: Patient) -> list[Finding]:
    """Whether the judge in the run's folder was trained on other data."""
    if not (patient.run.folder / FILE).is_file():
        raise DoesNotApply("no judge yet")
    if is_current(patient.run, patient.rows.data, patient.run.dataset("test")):
        return []
    said = "the data has changed since the judge was trained; evaluate trains another one"
    command = f"undiffuse evaluate {patient.word}"
    return [Finding("stale judge", "whether its data is the run's", 0, "1", said, command)]
