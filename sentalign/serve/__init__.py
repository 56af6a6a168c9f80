"""A web page that shows where in an X-ray a sentence is true. Read `app`, then `open_pictures` and `static/main.js`."""
