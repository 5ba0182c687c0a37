import '../../worker.js';
