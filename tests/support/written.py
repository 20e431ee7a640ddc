"""Records as a file holds them, and back, for those that are made up of parts that do not belong together, which a file
is refused for.
"""

import json

from pytest_maxact.record.document import document_of, record_of, tensors_of
from pytest_maxact.record.record import Record
from pytest_maxact.record.schema import stored


def written_and_read(record: Record) -> Record:
    return record_of(stored(json.loads(json.dumps(document_of(record), sort_keys=True))), tensors_of(record))
