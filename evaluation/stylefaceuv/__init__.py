"""Views, tables and figures of StyleFaceUV."""
