"""De-identification: nothing that identifies a person may leave with a sample.

In: source ids, the DICOM header, the report. Out: pseudonyms, masked text, refused images, an allow-listed DICOM file,
an audit without identities. Read `pseudonyms`, `private_folder` and `ledger` (who is behind a pseudonym; `resolve` is
the command), then `header_identifiers` and `reports/` (what identifies in a text), `secondary_captures` (identity in
pixels), `header_allow_list` and `deidentified_dicom` (KEY.dcm), and `audit`.
"""
